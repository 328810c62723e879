"""The operators' admin: only on the platform's host, grouped by task."""

from functools import wraps
from itertools import chain

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models.base import ModelBase
from django.shortcuts import redirect

from metering import attention, operations

# What operators call each model: one, and many
GROUPS = {
    "Tenants": {
        "tenants.Tenant": ("Tenant", "Tenants"),
        "tenants.Domain": ("Domain", "Domains"),
        "tenants.DomainClaim": ("Domain claim", "Domain claims"),
        "tenants.Move": ("Move", "Moves"),
        "branding.Branding": ("Brand", "Brands"),
    },
    "Plans and usage": {
        "metering.Plan": ("Plan", "Plans"),
        "metering.Subscription": ("Subscription", "Subscriptions"),
        "metering.PriceRule": ("Price", "Prices"),
        "metering.LedgerLine": ("Usage record", "Usage records"),
    },
    "AI": {
        "agents.AgentConfig": ("Agent", "Agents"),
        "agents.AgentVersion": ("Published version", "Published versions"),
    },
    "Operators and audit": {
        "accounts.User": ("Operator", "Operators"),
        "tenants.AuditEvent": ("Audit event", "Audit events"),
        "admin.LogEntry": ("Change", "Changes made here"),
        "tenants.Database": ("Database", "Databases"),
        "tenants.IsolationCheck": ("Isolation check", "Isolation checks"),
    },
}
WORDS = {label: words for group in GROUPS.values() for label, words in group.items()}


class OperatorSite(AdminSite):
    """Django's admin with our names and order."""

    site_header = "Atrium"
    site_title = "Atrium operators"
    site_url = None
    index_title = "Today"
    index_template = "admin/atrium_index.html"  # django-tenants ships an admin/index.html of its own
    enable_nav_sidebar = True

    def register(self, model_or_iterable, admin_class=None, **options):
        """Only what GROUPS lists has pages here: packages bring more, and tenants' data must have none."""
        models = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else list(model_or_iterable)
        super().register([model for model in models if model._meta.label in WORDS], admin_class, **options)

    def admin_view(self, view, cacheable=False):
        """Every page refuses what no database takes, in filters and choices too, which Django hands on unread."""

        @wraps(view)
        def guarded(request, *args, **kwargs):
            sent = chain(request.GET.lists(), request.POST.lists())
            if any("\x00" in value for _, values in sent for value in values):
                raise BadRequest("a NUL was sent")
            return view(request, *args, **kwargs)

        return super().admin_view(guarded, cacheable)

    def get_app_list(self, request, app_label=None):
        known = {
            f"{app['app_label']}.{model['object_name']}": model
            for app in super().get_app_list(request, app_label)
            for model in app["models"]
        }
        return [
            {"name": name, "app_label": name.lower(), "app_url": "", "has_module_perms": True, "models": found}
            for name, group in GROUPS.items()
            if (found := [known[label] | {"name": many} for label, (_, many) in group.items() if label in known])
        ]

    def each_context(self, request):
        """Every page says which installation it is."""
        return super().each_context(request) | {"production": not settings.DEMO}

    def index(self, request, extra_context=None):
        """How the platform is doing today."""
        shown = {"today": operations.today(), "attention": attention.notices()}
        return super().index(request, {**(extra_context or {}), **shown})

    def app_index(self, request, app_label, extra_context=None):
        """Our groups are not Django's apps: there is one index."""
        return redirect("admin:index")

    def login(self, request, extra_context=None):
        """Operators sign in where everybody does, through allauth."""
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next") or "/admin/", login_url="account_login")
