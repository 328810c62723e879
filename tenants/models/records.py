"""What is kept for those who ask later."""

from django.db import models

from platform_site.amounts import minute
from tenants.models.owned import TenantOwned


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
