"""The tenants, and the names that lead to them."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django_tenants.models import DomainMixin, TenantMixin

from tenants import databases, names
from tenants.context import TenantRef
from tenants.models.owned import TenantOwned
from tenants.models.places import Database, role_name

HOLDING_CLAIM = ("verified", "failing")  # states of a domain claim whose name leads to its tenant
LIVE_CLAIM = ("waiting", *HOLDING_CLAIM)  # ... that has not ended


class Tenant(TenantMixin):
    """A customer company."""

    readable_by_all = True
    auto_create_schema = False
    auto_drop_schema = False

    class State(models.TextChoices):
        PROVISIONING = "provisioning", "Being set up"
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"
        CLOSING = "closing", "Being closed"
        ERASING = "erasing", "Being erased"
        ERASED = "erased", "Erased"

    GONE = (State.ERASING, State.ERASED)  # for every door as if it had never been
    NOT_READY = (State.PROVISIONING, *GONE)  # no schema may be counted on

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=40, unique=True)
    state = models.CharField(max_length=20, choices=State, default=State.PROVISIONING)
    vertical = models.CharField(max_length=40, blank=True)
    timezone = models.CharField(max_length=60, default="UTC")
    database = models.ForeignKey(Database, models.PROTECT, related_name="tenants")
    regulated = models.BooleanField(
        default=False, db_default=False, help_text="Its data may not stand in a database with others'"
    )
    schema_level = models.CharField(max_length=64, blank=True, help_text="Fingerprint of the migrations it has")
    wrapped_key = models.BinaryField(help_text="The tenant's data key, wrapped by the installation's key")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("name"), name="tenant_name_once")]

    def __str__(self):
        return self.name

    @property
    def role(self) -> str:
        """Its database role."""
        return role_name(self.database_id, self.pk)

    def ref(self) -> TenantRef:
        """What the context holds of this tenant; its database's alias is made known to this process."""
        return TenantRef(
            id=self.pk,
            slug=self.slug,
            name=self.name,
            schema=self.schema_name,
            role=self.role,
            alias=databases.ensure_alias(self.database),
            epoch=self.database.epoch,
            timezone=self.timezone,
            state=self.state,
            wrapped_key=bytes(self.wrapped_key),
        )


class Domain(DomainMixin):
    """A host name that leads to a tenant, normalised: lower case, no port, no trailing dot."""

    readable_by_all = True

    verified_at = models.DateTimeField(null=True, blank=True)
    failing = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Its record is gone: it gets no certificate, and leads here some days more",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(domain=Lower(F("domain"))), name="domain_is_lower_case"),
        ]


class DomainClaim(TenantOwned):
    """A claim on a host name. Many tenants may wait for one name; the one that proves it gets the `Domain` row.

    challenge  what the name's DNS must say; fresh for every claim, so that an old record proves nothing
    check_at   when it is looked at next; none after the end
    """

    grants = "select, insert"  # to claim is the tenant's own; to conclude, the platform's

    class State(models.TextChoices):
        WAITING = "waiting", "Waits for its DNS record"
        VERIFIED = "verified", "Verified"
        FAILING = "failing", "Its DNS record is gone"
        RELEASED = "released", "Released"
        EXPIRED = "expired", "Never proved"

    LIVE = LIVE_CLAIM
    HOLDING = HOLDING_CLAIM

    name = models.CharField(max_length=253, help_text="Normalised as a Domain's")
    challenge = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    problem = models.TextField(blank=True, help_text="What the last check found wrong")
    claimed_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(auto_now_add=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    check_at = models.DateTimeField(null=True, blank=True, db_index=True)
    failing_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "name", condition=Q(state__in=LIVE_CLAIM), name="one_claim_of_a_tenant"),
            models.UniqueConstraint("name", condition=Q(state__in=HOLDING_CLAIM), name="one_holder_of_a_name"),
            models.CheckConstraint(condition=Q(name=Lower(F("name"))), name="claim_is_lower_case"),
        ]

    def __str__(self):
        return self.name

    @property
    def record_name(self) -> str:
        """Where the TXT record that proves it stands."""
        return f"{names.PROOF_LABEL}.{self.name}"

    @property
    def record_value(self) -> str:
        """What the record must say."""
        return f"{names.PROOF_VALUE}{self.challenge}"

    @property
    def kept_until(self) -> datetime | None:
        """Until when a failing domain leads to its tenant all the same."""
        return self.failing_since and self.failing_since + timedelta(days=settings.DOMAIN_GRACE_DAYS)


class SchemaTemplate(models.Model):
    """The SQL that makes an empty tenant schema at one level of migrations."""

    fingerprint = models.CharField(max_length=64, primary_key=True)
    sql = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return self.fingerprint[:12]
