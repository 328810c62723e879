"""How allauth behaves here: nobody signs up by themselves, and links lead to the host they were asked on."""

from allauth.account.adapter import DefaultAccountAdapter

from tenants.context import is_platform


class AccountAdapter(DefaultAccountAdapter):
    """Staff come by invitation, operators by `manage.py createsuperuser` or a colleague."""

    def is_open_for_signup(self, request):
        return False

    def get_login_redirect_url(self, request):
        return "/admin/" if is_platform() else "/"

    def get_logout_redirect_url(self, request):
        return "/accounts/login/"
