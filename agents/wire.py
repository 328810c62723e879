"""The chat's wire format: every frame a client may send, every event the server may answer.

Client frames are one JSON object each. Server frames are ``{"events": [...]}``: all that is there, as one frame.
Source: architecture, section 6.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from platform_site.errors import PlatformError

MESSAGE_CHARACTERS = 8_000

State = Literal["agent", "waiting", "human", "closed"]
Outcome = Literal["done", "stopped", "interrupted", "failed", "incomplete"]


class BadFrame(PlatformError):
    """The client sent something that is not one of our frames."""

    code, status = "bad_frame", 400


# More than anything that is counted here; beyond 64 bits, neither database nor JSON could follow
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cursor(_Frame):
    """How far a client has followed a running turn: ``n`` is the last event it has seen of that attempt."""

    turn: UUID
    attempt: Annotated[Number, Field(ge=1)]
    n: Number


class Hello(_Frame):
    """First frame of a socket. The hosted page brings a one-use ticket, the widget its visitor token."""

    type: Literal["hello"]
    ticket: str = Field(default="", max_length=200)
    token: str = Field(default="", max_length=400)
    conversation: UUID | None = None  # none: the visitor's open conversation, or a new one
    seq: Number = 0  # the last durable event the client has
    turn: Cursor | None = None


class Message(_Frame):
    """What the end user says. The same ``id`` sent twice is one message."""

    type: Literal["message"]
    id: UUID
    text: str = Field(min_length=1)  # its length is checked by the verb, so that the answer can name the limit


class Stop(_Frame):
    """End this answer; what was said so far is kept."""

    type: Literal["stop"]
    turn: UUID


class Typing(_Frame):
    """The end user is writing, or no longer."""

    type: Literal["typing"]
    on: bool


class Read(_Frame):
    """The end user has seen everything up to ``seq``."""

    type: Literal["read"]
    seq: Number


class Feedback(_Frame):
    """A thumb on an answer: 1 up, -1 down, 0 taken back."""

    type: Literal["feedback"]
    message: UUID
    value: Literal[-1, 0, 1]


class RequestHuman(_Frame):
    """The end user wants to talk to a person."""

    type: Literal["request_human"]


class History(_Frame):
    """Ask for up to ``limit`` messages older than ``before``."""

    type: Literal["history"]
    before: Annotated[Number, Field(ge=1)]
    limit: int = Field(default=50, ge=1, le=50)


Frame = Annotated[
    Hello | Message | Stop | Typing | Read | Feedback | RequestHuman | History, Field(discriminator="type")
]
_frames = TypeAdapter(Frame)


def parse_frame(text: str | bytes) -> Frame:
    """The frame in ``text`` (JSON). Raises BadFrame, whose text names the field but never repeats the content."""
    try:
        return _frames.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "frame"
        raise BadFrame(f"{where}: {first['msg']}") from None


def thumb_of(frame: Frame | None) -> UUID | None:
    """The answer that a thumb is about, so that the page can take back what was not taken."""
    return frame.message if isinstance(frame, Feedback) else None


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Citation(_Event):
    """One passage an answer leans on; ``n`` is the number of its chip."""

    n: int
    document: UUID
    title: str
    page: int | None
    heading: str = ""
    passage: str
    updated_at: datetime


class StoredMessage(_Event):
    """A message as the database holds it."""

    id: UUID
    seq: int
    role: Literal["user", "agent", "staff", "system"]
    author: str = ""  # the name shown
    text: str
    created_at: datetime
    outcome: Outcome | None = None  # of an agent's answer
    citations: list[Citation] = []
    feedback: Literal[-1, 0, 1] = 0
    client_id: UUID | None = None  # of an end user's message
    turn: UUID | None = None


class AgentFacts(_Event):
    """Who answers here, and what the page must say of it."""

    name: str
    demo: bool  # answered by the offline demo model: the page must say so
    keyword_search: bool = False  # no embedding provider: knowledge is searched by words only


class Ready(_Event):
    """Answer to hello: where the conversation stands. ``turn`` is the cursor of an open turn, if any."""

    type: Literal["ready"] = "ready"
    conversation: UUID
    seq: int
    state: State
    agent: AgentFacts
    turn: Cursor | None = None


class Accepted(_Event):
    """The end user's message is in the database."""

    type: Literal["accepted"] = "accepted"
    seq: int
    id: UUID  # the client's id
    message: UUID
    turn: UUID | None  # none: nobody answers by machine (a person has the conversation)
    created_at: datetime


class TurnStarted(_Event):
    """An answer begins, or is begun again under a larger ``attempt``."""

    type: Literal["turn.started"] = "turn.started"
    seq: int
    turn: UUID
    attempt: int


class Waiting(_Event):
    """The question waits. ``place`` is its number in line; none: for the answer to an earlier one; 0: no longer."""

    type: Literal["waiting"] = "waiting"
    turn: UUID
    attempt: int
    n: int
    place: int | None


class Delta(_Event):
    """More of the answer's text."""

    type: Literal["delta"] = "delta"
    turn: UUID
    attempt: int
    n: int
    text: str


class ToolStarted(_Event):
    """The agent does something besides talking."""

    type: Literal["tool.started"] = "tool.started"
    turn: UUID
    attempt: int
    n: int
    name: str
    label: str  # what the end user reads, e.g. "Looking up opening hours"


class ToolFinished(_Event):
    """It has done so, or could not."""

    type: Literal["tool.finished"] = "tool.finished"
    turn: UUID
    attempt: int
    n: int
    name: str
    ok: bool


class Citations(_Event):
    """The passages that the answer's numbers, such as [1], stand for."""

    type: Literal["citations"] = "citations"
    turn: UUID
    attempt: int
    n: int
    items: list[Citation]


class TurnFinished(_Event):
    """The answer is stored; ``message`` is the truth and replaces what was streamed."""

    type: Literal["turn.finished"] = "turn.finished"
    seq: int
    turn: UUID
    attempt: int
    outcome: Outcome
    message: StoredMessage | None  # none: nothing was worth storing (failed before the first word)


class MessageEvent(_Event):
    """A message of staff or system, or one the client missed while it was away."""

    type: Literal["message"] = "message"
    seq: int
    message: StoredMessage


class StateEvent(_Event):
    """Who has the conversation from now on."""

    type: Literal["state"] = "state"
    seq: int
    state: State


class TypingEvent(_Event):
    """Somebody on the other side is writing, or no longer."""

    type: Literal["typing"] = "typing"
    on: bool
    author: str = ""


class Limited(_Event):
    """The tenant's or visitor's allowance is used up."""

    type: Literal["limited"] = "limited"
    what: str
    until: datetime | None
    text: str


class HistoryEvent(_Event):
    """Older messages, oldest first; ``more`` says whether there are still older ones."""

    type: Literal["history"] = "history"
    messages: list[StoredMessage]
    more: bool


class Leaving(_Event):
    """The process at the other end is ending: open another socket now. This one goes on meanwhile."""

    type: Literal["leaving"] = "leaving"
    ticket: str  # for the hello there


class Error(_Event):
    """Something was not done."""

    type: Literal["error"] = "error"
    code: str
    text: str
    id: UUID | None = None  # the client's message that the error is about, or the answer that a thumb was meant for
    retry_after: float | None = None  # seconds


Event = Annotated[
    Ready | Accepted | TurnStarted | Waiting | Delta | ToolStarted | ToolFinished | Citations | TurnFinished
    | MessageEvent | StateEvent | TypingEvent | Limited | HistoryEvent | Leaving | Error,
    Field(discriminator="type"),
]  # fmt: skip
EVENTS = TypeAdapter(list[Event])
NUMBERED = (Waiting, Delta, ToolStarted, ToolFinished, Citations)  # within a turn, by ``n``
DURABLE = (Accepted, TurnFinished, MessageEvent, StateEvent)  # in Postgres, by ``seq`` of the conversation


def as_json(events: Event | list[Event]) -> bytes:
    """As pydantic would write it; EVENTS reads a list of them.

    pydantic's union needs much memory for that, which is cold after every sleep; orjson little.
    """
    return orjson.dumps(events, default=_fields, option=orjson.OPT_UTC_Z)


def _fields(value: BaseModel) -> dict:
    if isinstance(value, BaseModel):
        return value.__dict__
    raise TypeError(type(value).__name__)


def server_frame(events: list[Event]) -> str:
    """The JSON text of one server frame."""
    return '{"events":' + as_json(events).decode() + "}"
