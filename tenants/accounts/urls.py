"""Sign-in pages, the same on the operators' host and on each tenant's. allauth's own list has more than we offer."""

from allauth.account import views
from django.urls import path, register_converter
from django.urls.converters import StringConverter


class LettersAndDigits(StringConverter):
    """Ends before the first hyphen: what follows in a reset link holds hyphens itself."""

    regex = "[0-9A-Za-z]+"


register_converter(LettersAndDigits, "letters_and_digits")

sign_in_urls = [
    path("accounts/login/", views.login, name="account_login"),
    path("accounts/logout/", views.logout, name="account_logout"),
    path("accounts/signup/", views.signup, name="account_signup"),
    path("accounts/inactive/", views.account_inactive, name="account_inactive"),
    path("accounts/password/reset/", views.password_reset, name="account_reset_password"),
    path("accounts/password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    path(
        "accounts/password/reset/key/<letters_and_digits:uidb36>-<key>/",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "accounts/password/reset/key/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
]
