"""What the conversations' verbs take and give, as plain values: they may leave the tenant's context."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from tenants.ids import uuid7


@dataclass(frozen=True)
class Opened:
    """A turn whose question is stored.

    new     False when the same message had come before
    behind  a turn of the conversation that was asked for earlier and was running then, if any was
    """

    conversation: UUID
    turn: UUID
    attempt: int
    client_id: UUID
    message: UUID
    seq: int
    created_at: datetime
    question: str
    state: str
    new: bool
    agent_id: UUID | None = None
    channel: str = "page"
    behind: UUID | None = None
    history: list[dict] = field(default_factory=list)  # {"role", "text"}, oldest first, without the question


@dataclass(frozen=True)
class Use:
    """Tokens of one call of the model. id: the ledger has it once, however often it is recorded."""

    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    certainty: str
    id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True)
class Called:
    """One finished call of a tool."""

    name: str
    arguments: dict
    result: str
    ok: bool
    milliseconds: int
