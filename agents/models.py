"""A tenant's agents: the editable draft, and the published snapshots that conversations run on."""

from uuid import UUID

from django.db import models
from django.db.models import Q

from tenants.models import TenantOwned

INSTRUCTION_CHARACTERS = 8_000


class AgentSettings(models.Model):
    """What can be set on an agent; the draft and each published version hold the same fields."""

    name = models.CharField("name the customer sees", max_length=60)
    greeting = models.TextField("first message", max_length=500, blank=True)
    notice = models.CharField(
        "AI notice",
        max_length=160,
        default="You are talking to an AI assistant. It can be wrong.",
        help_text="Always shown to customers; it may be rephrased, not removed",
    )
    instructions = models.TextField(
        max_length=INSTRUCTION_CHARACTERS,
        help_text="May use {{agent_name}}, {{company}} and {{today}}",
    )
    model = models.CharField(
        max_length=100, blank=True, help_text="A litellm model name; empty for the installation's default"
    )
    temperature = models.DecimalField(max_digits=3, decimal_places=2, null=True, blank=True)
    tools = models.JSONField(default=list, blank=True, help_text="Names of the tools it may call")
    knowledge_bases = models.JSONField(default=list, blank=True, help_text="Ids of the knowledge bases it reads")
    suggestions = models.JSONField(default=list, blank=True, help_text="Up to four first questions to choose from")

    class Meta:
        abstract = True

    @property
    def knowledge_base_ids(self) -> list[UUID]:
        """Ids of the knowledge bases it reads."""
        return [UUID(text) for text in self.knowledge_bases]

    SETTINGS = (
        "name", "greeting", "notice", "instructions", "model", "temperature", "tools", "knowledge_bases", "suggestions",
    )  # fmt: skip


class AgentConfig(AgentSettings, TenantOwned):
    """An agent as its builders edit it. Customers meet only its published version."""

    is_default = models.BooleanField(default=False, help_text="Answers where no agent is named")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", condition=Q(is_default=True), name="agent_one_default"),
            models.UniqueConstraint("tenant", "name", name="agent_name_once"),
            models.CheckConstraint(condition=~Q(notice=""), name="agent_draft_keeps_notice"),
        ]

    def __str__(self):
        return self.name


class AgentVersion(AgentSettings, TenantOwned):
    """An immutable snapshot; the newest number is live."""

    grants = "select, insert"

    agent = models.ForeignKey(AgentConfig, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    published_by = models.CharField(max_length=254)
    note = models.CharField(max_length=200, blank=True)
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("agent", "number", name="agent_version_once"),
            models.CheckConstraint(condition=~Q(notice=""), name="agent_version_keeps_notice"),
        ]

    def __str__(self):
        return f"{self.name}, version {self.number}"
