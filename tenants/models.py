"""Who the tenants are and where their data lives: the control plane's directory."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django_tenants.models import DomainMixin, TenantMixin

from platform_site.amounts import minute
from tenants import databases, names
from tenants.context import TenantRef, current, current_or_none, is_platform
from tenants.ids import uuid7

MOST_TENANTS = 500  # of one database: beyond, its catalogue slows everything down
MOVING = ("planned", "preparing", "copying", "frozen", "verifying", "switched")  # states of a move that has not ended
HOLDING_CLAIM = ("verified", "failing")  # states of a domain claim whose name leads to its tenant
LIVE_CLAIM = ("waiting", *HOLDING_CLAIM)  # ... that has not ended


def role_name(database_id: int, tenant_id: int) -> str:
    """A tenant's role in a database. Roles belong to the whole cluster, so the name says installation and database."""
    return f"{settings.INSTALL}_d{database_id}_t_{tenant_id}"


class UUIDModel(models.Model):
    """A row whose id is a version 7 UUID."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True


def _tenant_of_context() -> int | None:
    ref = current_or_none()
    return ref.id if ref else None


class TenantManager(models.Manager):
    """Only the current tenant's rows; all rows in platform work; NoTenantContext otherwise."""

    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset if is_platform() else queryset.filter(tenant_id=current().id)


class TenantOwned(UUIDModel):
    """A control-plane row of one tenant. Row security in Postgres holds what this manager promises.

    grants  what the run-time role may do to its rows; `manage.py deploy` applies it
    """

    tenant_owned = True
    grants = "select, insert, update, delete"

    tenant = models.ForeignKey("tenants.Tenant", models.CASCADE, related_name="+", default=_tenant_of_context)

    objects = TenantManager()

    class Meta:
        abstract = True


class Database(models.Model):
    """A place where tenants can live. Its login stands here, sealed, or in an environment variable that is named here.

    A trigger holds that a dedicated one has one tenant at most, and that a kind never changes.
    """

    readable_by_all = True

    class Kind(models.TextChoices):
        SHARED = "shared", "Shared by many tenants"
        DEDICATED = "dedicated", "One tenant only"

    class State(models.TextChoices):
        OPENING = "opening", "Being opened"
        OPEN = "open", "Takes new tenants"
        FULL = "full", "Takes no new tenants"
        DRAINING = "draining", "Being emptied"
        DROPPING = "dropping", "Being dropped"

    name = models.SlugField(max_length=30, unique=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.SHARED)
    region = models.CharField(max_length=40, blank=True)
    url_variable = models.CharField(
        max_length=60, blank=True, help_text="Environment variable that holds the address and login of this database"
    )
    host = models.CharField(max_length=255, blank=True, db_default="")
    port = models.PositiveIntegerField(null=True, blank=True)
    database_name = models.CharField(max_length=63, blank=True, db_default="")
    login_role = models.CharField(max_length=63, blank=True, db_default="")
    sealed_password = models.BinaryField(null=True, help_text="Sealed with the installation's key")
    capacity_tenants = models.PositiveIntegerField(default=MOST_TENANTS, db_default=MOST_TENANTS)
    capacity_bytes = models.BigIntegerField(
        null=True, blank=True, help_text="Above this it takes no new tenants; empty: no limit"
    )
    may_create = models.BooleanField(
        default=False, db_default=False, help_text="New databases for tenants may be opened on its server"
    )
    used_bytes = models.BigIntegerField(null=True, blank=True, help_text="Its size when it was last measured")
    reserved_for = models.CharField(max_length=100, blank=True, db_default="", help_text="Whom it was opened for")
    epoch = models.PositiveIntegerField(default=1, help_text="Counts up when address or password change")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(capacity_tenants__lte=MOST_TENANTS), name="database_capacity"),
            models.CheckConstraint(
                condition=~Q(url_variable="") | (~Q(host="") & ~Q(database_name="") & ~Q(login_role="")),
                name="database_has_an_address",
            ),
        ]

    def __str__(self):
        return self.name

    @property
    def alias(self) -> str:
        """Its Django alias in the present epoch."""
        return f"{self.name}_v{self.epoch}"

    @property
    def has_all_bytes(self) -> bool:
        """Whether it was as large as it may become when it was last measured."""
        return self.capacity_bytes is not None and (self.used_bytes or 0) >= self.capacity_bytes

    @property
    def room(self) -> int:
        """How many tenants may live there."""
        return 1 if self.kind == self.Kind.DEDICATED else self.capacity_tenants


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

    grants = "select"

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


class Move(TenantOwned):
    """A tenant's way from one database to another. Only the platform moves; its own tenant may read of it.

    progress  step, tables, rows, bytes, seconds by phase, checksums: what an operator is shown
    """

    grants = "select"

    class State(models.TextChoices):
        PLANNED = "planned", "Planned"
        PREPARING = "preparing", "Preparing the new place"
        COPYING = "copying", "Copying while the tenant works"
        FROZEN = "frozen", "Copying, writes wait"
        VERIFYING = "verifying", "Comparing, writes wait"
        SWITCHED = "switched", "Switched"
        RETAINED = "retained", "Moved; the old copy is kept"
        DONE = "done", "Done"
        ROLLED_BACK = "rolled_back", "Rolled back"
        FAILED = "failed", "Failed; nothing was changed"

    UNDER_WAY = MOVING
    CANCELLABLE = tuple(state for state in MOVING if state != "switched")
    FREEZING = (State.FROZEN, State.VERIFYING)  # writes wait

    source = models.ForeignKey(Database, models.SET_NULL, null=True, related_name="+")
    target = models.ForeignKey(Database, models.SET_NULL, null=True, blank=True, related_name="+")
    to_dedicated = models.BooleanField(default=False, help_text="Open a dedicated database for it")
    undoes = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=12, choices=State, default=State.PLANNED)
    progress = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    cancelled = models.BooleanField(default=False)
    ordered_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(auto_now_add=True)
    retained_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", condition=Q(state__in=MOVING), name="one_move_at_a_time"),
        ]

    def __str__(self):
        return f"{self.tenant} to {self.target or 'a dedicated database'}"

    @property
    def purpose(self) -> str:
        """What a database that was opened for this move is reserved for."""
        return f"move {self.pk}"

    @property
    def old_schema(self) -> str:
        """What the schema is called in the old place after the switch."""
        return f"{self.tenant.schema_name}_m{self.pk.hex[-8:]}"

    @property
    def log_schema(self) -> str:
        """Where the old place notes what is written while rows are copied."""
        return f"{self.tenant.schema_name}_c{self.pk.hex[-8:]}"


class AuditEvent(TenantOwned):
    """Who did what to a tenant's configuration. Append only."""

    grants = "select, insert"

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=254, help_text="E-mail of operator or staff, or the name of a job")
    action = models.CharField(max_length=60)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes = [models.Index(fields=["tenant", "-at"])]

    def __str__(self):
        return f"{self.action} by {self.actor}"


class IsolationCheck(TenantOwned):
    """What became of every attempt to get from one tenant to another and back, on one day. Operators' alone."""

    grants = ""

    at = models.DateTimeField(auto_now_add=True)
    seconds = models.FloatField()
    ok = models.BooleanField(help_text="Every attempt was made, and every one was refused")
    leaked = models.PositiveIntegerField(default=0, help_text="Attempts that reached something")
    attempts = models.JSONField(help_text="Of each: code, text, by, against, outcome, detail")

    class Meta:
        indexes = [models.Index(fields=["tenant", "-at"])]

    def __str__(self):
        return f"{minute(self.at)}: {self.verdict.lower()}"

    @property
    def verdict(self) -> str:
        """In one word or two."""
        return "Leaked" if self.leaked else "Sound" if self.ok else "Incomplete"

    def as_dict(self, slug: str) -> dict:
        """JSON-ready, for an auditor. ``slug``: of its tenant."""
        shown = {name: getattr(self, name) for name in ("seconds", "ok", "leaked", "attempts")}
        return {"tenant": slug, "at": self.at.isoformat(), "verdict": self.verdict} | shown
