"""The databases where tenants can live, and what a tenant is called there."""

from django.conf import settings
from django.db import models
from django.db.models import Q

MOST_TENANTS = 500  # of one database: beyond, its catalogue slows everything down


def role_name(database_id: int, tenant_id: int) -> str:
    """A tenant's role in a database. Roles belong to the whole cluster, so the name says installation and database."""
    return f"{settings.INSTALL}_d{database_id}_t_{tenant_id}"


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
