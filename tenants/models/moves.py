"""Tenants' ways from one database to another."""

from django.db import models
from django.db.models import Q

from tenants.models.owned import TenantOwned
from tenants.models.places import Database

MOVING = ("planned", "preparing", "copying", "frozen", "verifying", "switched")  # states of a move that has not ended


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
