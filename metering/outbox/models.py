"""Usage waiting to be relayed to the ledger, in the tenant's own schema."""

from django.db import models
from django.utils import timezone

from tenants.models import UUIDModel


class UsageEvent(UUIDModel):
    """One use, written in the same transaction as what caused it. Its id is the ledger's event id.

    ``payload`` holds the ledger's columns beside ids and time; never any text of a conversation.
    """

    occurred_at = models.DateTimeField(default=timezone.now)
    payload = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["occurred_at"])]
