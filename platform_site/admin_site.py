"""The operators' admin: only on the platform's host, grouped by task."""

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied

GROUPS = {
    "Tenants": ["tenants.Tenant", "tenants.Domain", "branding.Branding"],
    "Plans and usage": ["metering.Plan", "metering.Subscription", "metering.UsageRecord", "metering.PriceRule"],
    "AI": ["agents.AgentConfig", "agents.AgentVersion"],
    "Operators and audit": ["accounts.User", "tenants.AuditEvent", "tenants.Database"],
}


class OperatorSite(AdminSite):
    """Django's admin with our names and order."""

    site_header = "Atrium"
    site_title = "Atrium operators"
    index_title = "Operations"
    index_template = "admin/atrium_index.html"  # django-tenants ships an admin/index.html of its own

    def get_app_list(self, request, app_label=None):
        known = {
            f"{app['app_label']}.{model['object_name']}": model
            for app in super().get_app_list(request, app_label)
            for model in app["models"]
        }
        return [
            {"name": name, "app_label": name.lower(), "app_url": "", "has_module_perms": True, "models": found}
            for name, labels in GROUPS.items()
            if (found := [known[label] for label in labels if label in known])
        ]

    def login(self, request, extra_context=None):
        """Operators sign in where everybody does, through allauth."""
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next") or "/admin/", login_url="account_login")
