"""Operators' pages on domains: which tenant claims which name, what its DNS has to say, and where names lead."""

from django import forms
from django.contrib import admin, messages
from django.utils.safestring import SafeString

from platform_site import tasks
from platform_site.admin_pages import NOTHING, OperatorAdmin, lines, link, list_link, pill
from platform_site.amounts import minute
from platform_site.errors import PlatformError
from tenants import domains, names
from tenants.errors import QueueSilent
from tenants.models import Domain, DomainClaim, Tenant

TONES = {"waiting": "info", "verified": "ok", "failing": "bad"}


def claims_of(tenant: Tenant) -> SafeString | str:
    """On the tenant's page: its claims with their states, and the way to all of them."""
    live = DomainClaim.objects.filter(tenant=tenant, state__in=DomainClaim.LIVE).order_by("name")
    shown = [link(claim, f"{claim.name} ({claim.get_state_display()})") for claim in live]
    return lines([*shown, list_link(DomainClaim, "All claims", tenant__id__exact=tenant.pk)])


def _state(claim: DomainClaim) -> SafeString:
    return pill(claim.get_state_display(), TONES.get(claim.state, ""))


class ClaimForm(forms.ModelForm):
    """A tenant and the name it wants."""

    class Meta:
        model = DomainClaim
        fields = ["tenant", "name"]
        labels = {"name": "Domain"}
        help_texts = {"name": "A full host name, e.g. chat.example.com"}

    def clean_name(self) -> str:
        """By the same rules as in the command."""
        try:
            return names.checked_domain(self.cleaned_data["name"])
        except PlatformError as error:
            raise forms.ValidationError(str(error)) from None

    def validate_constraints(self):
        """The verb decides about a second claim of the same name: it gives the first."""


@admin.action(permissions=["view"], description="Check now: look for their DNS records")
def check_now(page, request, chosen):
    """A worker looks, because a name server may take seconds to answer."""
    domains.ask_for_check(list(chosen))
    try:
        tasks.check_domains.order()
    except QueueSilent as error:
        page.message_user(request, f"{error} They are checked once it does, within 5 minutes.", messages.WARNING)
        return
    page.message_user(request, "The DNS is being asked, which takes some seconds. Then load this page again.")


@admin.action(permissions=["change"], description="Release: the names stop leading to their tenants")
def release(page, request, chosen):
    """What has ended already is passed over."""
    released = [claim.name for claim in chosen if domains.release(claim, by=request.user.email)]
    page.message_user(request, f"Released: {', '.join(released) or 'none'}.")


@admin.register(DomainClaim)
class DomainClaimAdmin(OperatorAdmin):
    """Claims are made and ended here; only the DNS proves them."""

    may_add = may_change = True
    form = ClaimForm
    actions = [check_now, release]
    list_display = ["name", "tenant", "status", "problem"]
    list_select_related = ["tenant"]
    list_filter = ["state"]
    search_fields = ["name", "tenant__name", "tenant__slug"]
    ordering = ["name", "-created_at"]

    def has_change_permission(self, request, obj=None):
        """Releasing is a change; the page of one claim has nothing to save."""
        return obj is None and super().has_change_permission(request)

    def get_fields(self, request, obj=None):
        if obj is None:
            return ["tenant", "name"]
        return ["name", "tenant", "status", "to_do", "problem", "last_look", "next_look", "claimed_by", "created_at"]

    def get_readonly_fields(self, request, obj=None):
        return self.get_fields(request, obj) if obj else []

    def save_model(self, request, obj, form, change):
        made = domains.claim(obj.tenant, obj.name, by=request.user.email)
        obj.__dict__.update(made.__dict__)  # the page goes on with the row

    @admin.display(description="Status", ordering="state")
    def status(self, claim):
        """As a pill."""
        return _state(claim)

    @admin.display(description="To be done by its owner")
    def to_do(self, claim):
        """The records to set, as long as there are any."""
        return lines(domains.steps(claim)) if claim.state in DomainClaim.LIVE else NOTHING

    @admin.display(description="Looked for last")
    def last_look(self, claim):
        """When the DNS was asked."""
        return minute(claim.checked_at) if claim.checked_at else NOTHING

    @admin.display(description="Looked for next")
    def next_look(self, claim):
        """When it will be; not at all after the end."""
        return minute(claim.check_at) if claim.check_at else NOTHING


class DomainForm(forms.ModelForm):
    """Which of a tenant's domains its links lead to."""

    class Meta:
        model = Domain
        fields = ["is_primary"]

    def clean_is_primary(self) -> bool:
        """Links must not lead to what may stop working."""
        if wanted := self.cleaned_data["is_primary"]:
            try:
                domains.refuse_as_main(self.instance)
            except PlatformError as error:
                raise forms.ValidationError(str(error)) from None
        return wanted


@admin.register(Domain)
class DomainAdmin(OperatorAdmin):
    """Host names and the tenants they lead to. A proved claim brings them; one of them is the main address."""

    may_change = may_delete = True
    form = DomainForm
    fields = ["domain", "tenant", "is_primary", "state"]
    readonly_fields = ["domain", "tenant", "state"]
    list_display = ["domain", "tenant", "is_primary", "state"]
    list_select_related = ["tenant"]
    list_filter = ["is_primary", "failing", ("verified_at", admin.EmptyFieldListFilter)]
    search_fields = ["domain", "tenant__name"]
    ordering = ["domain"]

    def has_delete_permission(self, request, obj=None):
        return super().has_delete_permission(request, obj) and (obj is None or domains.is_removable(obj))

    def save_model(self, request, obj, form, change):
        if obj.is_primary:  # there is no way to have none
            domains.make_main(obj, by=request.user.email)

    def delete_model(self, request, obj):
        domains.remove(obj, by=request.user.email)

    @admin.display(description="State", ordering="verified_at")
    def state(self, domain):
        """Whether it leads anywhere, and for how long."""
        if domain.failing:
            return pill("Its DNS record is gone", "bad")
        return pill("Verified", "ok") if domain.verified_at else pill("Not verified", "warn")
