"""How allauth behaves here: nobody signs up by themselves, and mails carry the brand and the stored address."""

from email.utils import formataddr
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings

from platform_site import callers
from platform_site.pages import page_frame
from tenants import addresses
from tenants.context import is_platform


class AccountAdapter(DefaultAccountAdapter):
    """Staff come by invitation, operators by `manage.py createsuperuser` or a colleague."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "This e-mail address and password do not belong together. Please try again.",
        "too_many_login_attempts": "Too many attempts for this address. Please try again in five minutes.",
    }

    def get_client_ip(self, request):
        """What sign-ins are counted under: one caller has a whole /64 of IPv6."""
        address = super().get_client_ip(request)
        return callers.network_of(address) or address

    def is_open_for_signup(self, request):
        return False

    def get_login_redirect_url(self, request):
        return "/admin/" if is_platform() else "/"

    def get_logout_redirect_url(self, request):
        return "/accounts/login/"

    def is_safe_url(self, url):
        """Only a path on this very host: no other host is ever safe, ours included."""
        parts = urlsplit(url or "")
        return not parts.scheme and not parts.netloc and super().is_safe_url(url)

    def get_reset_password_from_key_url(self, key):
        """On the stored main domain; what the Host header said does not reach a mail."""
        path = urlsplit(super().get_reset_password_from_key_url(key)).path
        return addresses.canonical() + path

    def format_email_subject(self, subject):
        return subject

    def get_from_email(self):
        return formataddr((page_frame(self.request)["brand"].name, settings.DEFAULT_FROM_EMAIL))

    def render_mail(self, template_prefix, email, context, headers=None):
        frame = page_frame(self.request)
        return super().render_mail(template_prefix, email, {**frame, **context}, headers)
