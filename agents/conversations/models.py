"""Conversations of one tenant's end users. Data plane: these tables stand in the tenant's own schema.

``seq`` counts the durable events of a conversation; the conversation's row holds the counter, and whoever stores an
event counts it up in the same statement that locks the row.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.fields import EncryptedJSONField, EncryptedTextField
from tenants.models import UUIDModel


class EndUser(UUIDModel):
    """A tenant's customer, often anonymous: known by the secret in a cookie, kept as a hash."""

    secret_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)


class Conversation(UUIDModel):
    """One end user and one agent, or the staff that took over."""

    class State(models.TextChoices):
        AGENT = "agent", "The agent answers"
        WAITING = "waiting", "Waiting for staff"
        HUMAN = "human", "Staff answers"
        CLOSED = "closed", "Closed"

    end_user = models.ForeignKey(EndUser, models.CASCADE, related_name="conversations")
    agent_id = models.UUIDField(help_text="AgentConfig in the control plane")
    version_id = models.UUIDField(help_text="AgentVersion of the newest turn")
    channel = models.CharField(max_length=20, default="page")  # page, api, or one of TRIALS
    state = models.CharField(max_length=10, choices=State, default=State.AGENT)
    seq = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    TRIALS = {"draft": "test", "live": "test-live"}  # builders try an agent: no customer's conversation

    class Meta:
        indexes = [models.Index(fields=["end_user", "-created_at"]), models.Index(fields=["-updated_at"])]


class Turn(UUIDModel):
    """One message of the end user and all the agent does to answer it."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Answered"
        STOPPED = "stopped", "Stopped by the end user"
        INTERRUPTED = "interrupted", "Interrupted"
        FAILED = "failed", "Failed"
        INCOMPLETE = "incomplete", "Ended without a finish mark"

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="turns")
    client_id = models.UUIDField(help_text="Chosen by the client: the same message sent twice is one turn")
    state = models.CharField(max_length=12, choices=State, default=State.RUNNING)
    attempt = models.PositiveIntegerField(default=1, help_text="Fences every store: a deposed owner writes nothing")
    wrote = models.BooleanField(default=False, help_text="A tool changed data: the turn may not run again")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint("conversation", "client_id", name="turn_once")]
        indexes = [models.Index(fields=["started_at"], condition=Q(state="running"), name="turn_running")]


class Message(UUIDModel):
    """What was said. The text is encrypted, bound to tenant and row."""

    class Role(models.TextChoices):
        USER = "user", "End user"
        AGENT = "agent", "Agent"
        STAFF = "staff", "Staff"
        SYSTEM = "system", "System"

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    turn = models.ForeignKey(Turn, models.SET_NULL, related_name="messages", null=True, blank=True)
    seq = models.PositiveBigIntegerField()
    role = models.CharField(max_length=10, choices=Role)
    author = models.CharField(max_length=100, blank=True)
    text = EncryptedTextField()
    citations = EncryptedJSONField(null=True, blank=True)  # list of wire.Citation as JSON
    outcome = models.CharField(max_length=12, blank=True)
    client_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint("conversation", "seq", name="message_seq_once")]


class ToolCall(UUIDModel):
    """One call of a tool within a turn."""

    turn = models.ForeignKey(Turn, models.CASCADE, related_name="tool_calls")
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=60)
    arguments = EncryptedJSONField()
    result = EncryptedTextField()
    ok = models.BooleanField()
    milliseconds = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)


class Handoff(UUIDModel):
    """A conversation passing from the agent to staff, and why."""

    class Reason(models.TextChoices):
        ASKED = "asked", "The end user asked for a person"
        TOOL = "tool", "The agent asked for a person"
        FAILURE = "failure", "The agent could not answer"

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="handoffs")
    reason = models.CharField(max_length=12, choices=Reason)
    created_at = models.DateTimeField(default=timezone.now)


class Feedback(UUIDModel):
    """An end user's thumb on one answer."""

    message = models.OneToOneField(Message, models.CASCADE, related_name="feedback")
    value = models.SmallIntegerField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(value__in=[-1, 1]), name="feedback_is_a_thumb")]
