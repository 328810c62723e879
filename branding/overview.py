"""What the portal's first page tells: how much there is, what is left to set up, what changed last."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import timezone

from agents.conversations.models import Conversation
from agents.models import AgentVersion
from branding import brands
from knowledge.models import Document
from tenants.accounts.models import Invitation, User
from tenants.context import current
from tenants.models import AuditEvent

SENTENCES = {
    "agent.published": "published the agent, version {number}",
    "branding.saved": "changed the brand",
    "tenant.created": "set this portal up",
}


@dataclass(frozen=True)
class Step:
    """One thing to set up. ``page`` is the name of its URL, for those who have ``right``."""

    done: bool
    text: str
    page: str
    right: str


@dataclass(frozen=True)
class Change:
    """Something that customers can see now, and who did it."""

    at: datetime
    actor: str
    text: str


def numbers() -> dict[str, int]:
    """Counts of the current tenant; "today" by its own clock."""
    midnight = (
        timezone.now().astimezone(ZoneInfo(current().timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    )
    real = Conversation.objects.exclude(channel__in=Conversation.TRIALS.values())
    return {
        "ready": Document.objects.filter(state=Document.State.READY).count(),
        "working": Document.objects.unfinished().count(),
        "failed": Document.objects.filter(state=Document.State.FAILED).count(),
        "today": real.filter(created_at__gte=midnight).count(),
        "waiting": real.filter(state=Conversation.State.WAITING).count(),
    }


def steps(ready: int) -> list[Step]:
    """The way from nothing to a working assistant. ``ready``: documents that can be searched."""
    colleagues = User.objects.count() > 1 or Invitation.objects.exists()
    return [
        Step(AgentVersion.objects.exists(), "Publish your agent", "portal:agents", "agents.view"),
        Step(ready > 0, "Add knowledge that it answers from", "portal:documents", "knowledge.view"),
        Step(Conversation.objects.exists(), "Ask it a question as a customer would", "chat:page", "portal.view"),
        Step(brands.current().revision > 1, "Choose your colours", "portal:branding", "branding.view"),
        Step(colleagues, "Invite a colleague", "portal:team", "team.view"),
    ]


def last_changes(limit: int = 5) -> list[Change]:
    """What was published last, newest first."""
    events = AuditEvent.objects.filter(action__in=SENTENCES).order_by("-at")[:limit]
    return [
        Change(event.at, event.actor, SENTENCES[event.action].replace("{number}", str(event.details.get("number", ""))))
        for event in events
    ]
