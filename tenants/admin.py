"""Operators' pages on tenants: who they are, where they live, what was done to them. Verbs act; commands create."""

from functools import cache
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.shortcuts import redirect
from django.urls import path

from agents.models import AgentConfig
from branding.models import Branding
from branding.templatetags.portal import when
from metering import operations
from metering.models import LedgerLine, Subscription
from platform_site.admin_pages import (
    NOTHING,
    OperatorAdmin,
    ReadOnlyAdmin,
    bar,
    lines,
    link,
    list_link,
    pill,
    swatch,
)
from platform_site.amounts import minute
from platform_site.errors import PlatformError
from tenants import (
    admin_actions,
    admin_databases,  # noqa: F401  it registers pages
    admin_domains,
    admin_isolation,  # noqa: F401
    admin_moves,
    directory,
    names,
    relocation,
)
from tenants.models import AuditEvent, Database, IsolationCheck, Move, Tenant

TONES = {"active": "ok", "provisioning": "info", "suspended": "warn", "closing": "warn", "erasing": "bad"}
EVENTS_SHOWN = 5


@cache
def _time_zones() -> list[str]:
    return sorted(available_timezones())


class TenantForm(forms.ModelForm):
    """What may be changed of a tenant by hand."""

    timezone = forms.ChoiceField(label="Time zone", help_text="Its reports and days use it")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if "timezone" in self.fields:
            self.fields["timezone"].choices = [(zone, zone) for zone in _time_zones()]

    def clean_regulated(self) -> bool:
        """It cannot be turned on while the tenant is on its way into a database that others share."""
        regulated = self.cleaned_data["regulated"]
        if regulated and not self.initial.get("regulated") and relocation.is_on_its_way_to_share(self.instance):
            raise forms.ValidationError("It is being moved into a shared database. Cancel the move, or wait for it.")
        return regulated

    def clean_name(self) -> str:
        """The name by the same rules as when the tenant was made."""
        try:
            return names.checked_name(self.cleaned_data["name"])
        except PlatformError as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(Tenant)
class TenantAdmin(OperatorAdmin):
    """One row per customer company; `manage.py create_tenant` makes them."""

    may_change = True
    form = TenantForm
    change_form_template = "admin/tenant.html"
    actions = [admin_actions.suspend, admin_actions.resume, admin_actions.move, admin_actions.check_isolation]
    list_display = ["name", "slug", "status", "plan", "placement", "tokens_this_month", "last_activity"]
    list_filter = ["state", "regulated", "database__kind"]  # of databases there may be hundreds
    list_select_related = ["database"]
    search_fields = ["name", "slug", "domains__domain"]
    ordering = ["name"]
    fieldsets = [
        (None, {"fields": ["name", "timezone", "slug", "status", "vertical", "created_at"]}),
        ("Plan and usage", {"fields": ["plan_link", "month", "models"]}),
        ("Addresses", {"fields": ["addresses", "claims"]}),
        ("Agents", {"fields": ["agents"]}),
        ("Branding", {"fields": ["brand"]}),
        ("Placement", {"fields": ["regulated", "placement", "moves", "schema_name", "level"]}),
        ("Audit", {"fields": ["isolation", "events"]}),
    ]
    readonly_fields = [
        "slug", "status", "vertical", "created_at", "plan_link", "month", "models", "addresses", "claims", "agents",
        "brand", "placement", "moves", "schema_name", "level", "isolation", "events",
    ]  # fmt: skip

    def tenant_of(self, obj):
        return obj

    def get_queryset(self, request):
        rows = super().get_queryset(request).select_related("database").defer("wrapped_key")
        return operations.with_usage(rows.exclude(slug=names.STAND_IN))  # which is nobody's

    def get_urls(self):
        move = self.admin_site.admin_view(self.move)
        return [path("<int:pk>/move/", move, name="tenants_tenant_move"), *super().get_urls()]

    def move(self, request, pk):
        """Choose where it shall live, and order the move."""
        tenant = self.get_object(request, str(pk))
        if tenant is None:
            raise Http404
        if not self.has_change_permission(request, tenant):
            raise PermissionDenied
        return admin_moves.order_page(self, request, tenant)

    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        """Before a tenant that shares its database is marked as regulated, a promotion is offered."""
        tenant = self.get_object(request, object_id) if request.method == "POST" and object_id else None
        if tenant and "promotion" not in request.POST and self.has_change_permission(request, tenant):
            form = self.get_form(request, tenant, change=True)(request.POST, instance=tenant)
            if "regulated" in form.changed_data and form.is_valid() and admin_moves.may_be_promoted(tenant):
                return admin_moves.promotion_page(self, request, tenant)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request, obj, form, change):
        super().save_model(request, obj, form, change)
        if "regulated" in form.changed_data:
            self.audit(request, obj, "marked_regulated" if obj.regulated else "no_longer_regulated")
        if request.POST.get("promotion") == "now" and admin_moves.may_be_promoted(obj):
            request.ordered_move = relocation.order(obj, None, by=request.user.email)
        directory.forget()

    def response_change(self, request, obj):
        if move := getattr(request, "ordered_move", None):
            self.message_user(request, f"{obj.name} is being given a database of its own.")
            return redirect(admin_moves.page_of(move))
        return super().response_change(request, obj)

    # --- columns

    @admin.display(description="Status", ordering="state")
    def status(self, tenant):
        """Its state as a pill."""
        return pill(tenant.get_state_display(), TONES.get(tenant.state, ""))

    @admin.display(ordering="plan_name")
    def plan(self, tenant):
        """The name of its plan."""
        return tenant.plan_name or NOTHING

    @admin.display(ordering="database")
    def placement(self, tenant):
        """Where its schema lives."""
        return f"{tenant.database.name}, {'own' if tenant.database.kind == Database.Kind.DEDICATED else 'shared'}"

    @admin.display(description="Tokens this month", ordering="month_tokens")
    def tokens_this_month(self, tenant):
        """Of answers, in the UTC month, beside how much of the plan that is."""
        used = tenant.month_tokens or 0
        return lines([f"{used:,}", bar(used, tenant.month_allowed or 1)])

    @admin.display(description="Last activity", ordering="last_used")
    def last_activity(self, tenant):
        """When a model last worked for it."""
        return when(tenant.last_used) if tenant.last_used else NOTHING

    # --- the page of one tenant

    @admin.display(description="Plan")
    def plan_link(self, tenant):
        """Leads to where the plan is changed."""
        return link(Subscription.objects.select_related("plan").filter(tenant=tenant).first())

    @admin.display(description="Tokens this month")
    def month(self, tenant):
        """Used, of how many."""
        used, allowed = tenant.month_tokens or 0, tenant.month_allowed or 0
        return lines([f"{used:,} of {allowed:,}", bar(used, allowed)])

    @admin.display(description="By model")
    def models(self, tenant):
        """The month's sums, and the way to each use."""
        sums = [
            f"{row['model']}: {row['uses']:,} uses, {row['tokens']:,} tokens, ${row['spent']:.4f}"
            for row in operations.month_by_model(tenant)
        ]
        return lines([*sums, list_link(LedgerLine, "All usage records", tenant__id__exact=tenant.pk)])

    @admin.display(description="Hosts")
    def addresses(self, tenant):
        """Its domains."""
        return lines([link(domain) for domain in tenant.domains.order_by("-is_primary", "domain")])

    @admin.display(description="Domains of its own")
    def claims(self, tenant):
        """What it claims and holds."""
        return admin_domains.claims_of(tenant)

    @admin.display(description="Agents")
    def agents(self, tenant):
        """Its agents."""
        return lines([link(agent) for agent in AgentConfig.objects.filter(tenant=tenant).order_by("name")])

    @admin.display(description="Brand")
    def brand(self, tenant):
        """Its colour, and the way to the rest."""
        brand = Branding.objects.filter(tenant=tenant).first()
        return lines([swatch(brand.colour), link(brand)]) if brand else NOTHING

    @admin.display(description="Moves")
    def moves(self, tenant):
        """The newest, and the way to all of them."""
        newest = Move.objects.select_related("target").filter(tenant=tenant).order_by("-created_at").first()
        if newest is None:
            return NOTHING
        return lines([link(newest, newest.get_state_display()), list_link(Move, "All", tenant__id__exact=tenant.pk)])

    @admin.display(description="Schema level")
    def level(self, tenant):
        """Which migrations its schema has, shortened."""
        return tenant.schema_level[:12] or NOTHING

    @admin.display(description="Isolation")
    def isolation(self, tenant):
        """The newest result of trying to get from it to another, and the way to all of them."""
        newest = IsolationCheck.objects.filter(tenant=tenant).defer("attempts").order_by("-at").first()
        return lines([link(newest), list_link(IsolationCheck, "All checks", tenant__id__exact=tenant.pk)])

    @admin.display(description="Last events")
    def events(self, tenant):
        """What was done to it last, and the way to all of it."""
        newest = AuditEvent.objects.filter(tenant=tenant).order_by("-at")[:EVENTS_SHOWN]
        shown = [f"{minute(event.at)}: {event.action} by {event.actor}" for event in newest]
        return lines([*shown, list_link(AuditEvent, "All events", tenant__id__exact=tenant.pk)])


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what to a tenant's configuration."""

    show_full_result_count = False
    list_display = ["at", "tenant", "action", "actor"]
    list_display_links = ["at", "action"]
    list_select_related = ["tenant"]
    list_filter = ["at"]
    search_fields = ["actor", "action", "tenant__name"]
    ordering = ["-at"]
    fields = ["at", "tenant", "actor", "action", "details"]
