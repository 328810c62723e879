"""Operators' pages on the databases where tenants live: how full they are, and what they may take."""

from django import forms
from django.contrib import admin

from platform_site.admin_pages import NOTHING, OperatorAdmin, bar, lines, list_link, pill
from platform_site.amounts import megabytes
from tenants import placements, room
from tenants.models import MOST_TENANTS, Database, Tenant

TONES = {"open": "ok", "full": "", "draining": "warn", "opening": "info", "dropping": "bad"}
LIMITS = ["region", "capacity_tenants", "capacity_bytes", "may_create"]


class LimitsForm(forms.ModelForm):
    """What a database takes."""

    class Meta:
        labels = {
            "capacity_tenants": "Most tenants",
            "capacity_bytes": "Most bytes",
            "may_create": "Others may be opened beside it",
        }

    def clean_capacity_tenants(self) -> int:
        """The model's constraint says the same, but not why."""
        tenants = self.cleaned_data["capacity_tenants"]
        if tenants > MOST_TENANTS:
            raise forms.ValidationError(f"At most {MOST_TENANTS}: beyond, its catalogue slows everything down.")
        return tenants


@admin.register(Database)
class DatabaseAdmin(OperatorAdmin):
    """Places where tenants can live; `manage.py database` opens, checks and empties them."""

    may_change = True
    form = LimitsForm
    list_display = ["name", "living", "size", "status", "region", "may_create"]
    list_filter = ["kind", "state"]
    search_fields = ["name", "region"]
    ordering = ["name"]
    fields = [
        "name", "kind", "status", "living", "size", *LIMITS, "host", "port", "database_name", "login_role",
        "url_variable", "reserved_for", "epoch", "created_at",
    ]  # fmt: skip

    def get_readonly_fields(self, request, obj=None):
        free = LIMITS if obj is None or obj.kind == Database.Kind.SHARED else ["region", "capacity_bytes"]
        return [name for name in self.fields if name not in free]

    def get_queryset(self, request):
        return super().get_queryset(request).annotate(living=room.counted_tenants())

    def save_model(self, request, obj, form, change):
        if form.changed_data:
            placements.set_limits(obj, **{name: form.cleaned_data[name] for name in form.changed_data})

    @admin.display(description="State", ordering="state")
    def status(self, database):
        """As a pill; a tenant's own takes no other."""
        if database.kind == Database.Kind.DEDICATED and database.living:
            return pill("Is its tenant's own", "info")
        return pill(database.get_state_display(), TONES.get(database.state, ""))

    @admin.display(description="Tenants", ordering="living")
    def living(self, database):
        """How many live there, of how many."""
        if database.kind == Database.Kind.DEDICATED:
            return list_link(Tenant, "Its tenant", database__id__exact=database.pk) if database.living else NOTHING
        way = list_link(Tenant, f"{database.living} of {database.room}", database__id__exact=database.pk)
        return lines([way, bar(database.living, database.room)])

    @admin.display(description="Size", ordering="used_bytes")
    def size(self, database):
        """When it was last measured, of how much."""
        if database.used_bytes is None:
            return NOTHING
        if database.capacity_bytes is None:
            return megabytes(database.used_bytes)
        text = f"{megabytes(database.used_bytes)} of {megabytes(database.capacity_bytes)}"
        return lines([text, bar(database.used_bytes, database.capacity_bytes)])
