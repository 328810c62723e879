"""The shared half of the operators' door: what a page may do, whose page it is, and who changed what."""

from django.contrib import admin, messages
from django.db.models import Model
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from branding.models import Branding
from platform_site.admin_site import WORDS
from platform_site.errors import PlatformError
from tenants.models import AuditEvent, Tenant

NOTHING = "–"


class OperatorAdmin(admin.ModelAdmin):
    """Base of the operators' pages. A page may do what it names; changes of a tenant's rows leave an AuditEvent.

    Verbs' errors become messages, as in the portal.
    """

    may_add = may_change = may_delete = False
    list_per_page = 30
    actions = None

    def has_add_permission(self, request):
        return self.may_add and super().has_add_permission(request)

    def has_change_permission(self, request, obj=None):
        return self.may_change and super().has_change_permission(request, obj)

    def has_delete_permission(self, request, obj=None):
        return self.may_delete and super().has_delete_permission(request, obj)

    def tenant_of(self, obj: Model | None) -> Tenant | None:
        """Whose row it is, if it is one tenant's."""
        return getattr(obj, "tenant", None)

    def colour_of(self, tenant: Tenant) -> str:
        """A tenant's own colour, for the dot beside its name."""
        colour = Branding.objects.filter(tenant_id=tenant.pk).values_list("colour", flat=True).first()
        return colour or "#5f6977"

    def changelist_view(self, request, extra_context=None):
        _, many = WORDS[self.opts.label]
        return super().changelist_view(request, {"title": many, "words": many, **(extra_context or {})})

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        """A page over one tenant carries its name and colour in the heading, so that nobody acts on the wrong one."""
        one, many = WORDS[self.opts.label]
        context |= {"title": f"{one}: {obj}" if obj else f"Add {one.lower()}", "subtitle": None, "words": many}
        if tenant := self.tenant_of(obj):
            context |= {"of_tenant": tenant, "of_colour": self.colour_of(tenant)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except PlatformError as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(request.get_full_path())

    def save_model(self, request, obj, form, change):
        """Write only what was changed, so that parallel changes do not undo each other."""
        if not change:
            obj.save()
            self.audit(request, obj, "added")
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)
            self.audit(request, obj, "changed", fields=form.changed_data)

    def delete_model(self, request, obj):
        self.audit(request, obj, "removed", what=str(obj))
        super().delete_model(request, obj)

    def audit(self, request, obj, done: str, **details) -> None:
        """Leave a trace with the tenant. What is nobody's (plans, prices, operators) is in Django's own log."""
        if tenant := self.tenant_of(obj):
            name = obj._meta.verbose_name.replace(" ", "_")
            AuditEvent.objects.create(
                tenant_id=tenant.pk, actor=request.user.email, action=f"{name}.{done}", details=details
            )


class ReadOnlyAdmin(OperatorAdmin):
    """Rows that operators look at and nobody edits here."""

    def get_readonly_fields(self, request, obj=None):
        return self.fields or [field.name for field in self.opts.fields]


def pill(text: str, tone: str = "") -> SafeString:
    """A status; tone: ok, warn, bad, info, or none."""
    return format_html('<span class="pill {}">{}</span>', f"t-{tone}" if tone else "", text)


def swatch(colour: str) -> SafeString:
    """A colour as a small square and in words."""
    square = format_html('<rect width="16" height="16" rx="4" fill="{}"/>', colour)
    return format_html('<svg class="swatch" width="16" height="16" aria-hidden="true">{}</svg> {}', square, colour)


def bar(used: int, allowed: int) -> SafeString:
    """How much of a limit is used."""
    percent = min(100, 100 * used // max(1, allowed))
    return format_html(
        '<progress class="bar {}" max="100" value="{}" aria-label="{} % used"></progress>',
        "t-bad" if percent >= 90 else "t-warn" if percent >= 80 else "", percent, percent,
    )  # fmt: skip


def link(obj: Model | None, text: str = "") -> SafeString | str:
    """To the page of a row."""
    if obj is None:
        return NOTHING
    page = reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])
    return format_html('<a href="{}">{}</a>', page, text or obj)


def list_link(model: type[Model], text: str, **lookups) -> SafeString:
    """To the list of a model, filtered."""
    page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", query=lookups)
    return format_html('<a href="{}">{}</a>', page, text)


def lines(parts: list) -> SafeString | str:
    """One below the other."""
    return (
        format_html('<ul class="plain">{}</ul>', format_html_join("", "<li>{}</li>", ((p,) for p in parts)))
        if parts
        else NOTHING
    )
