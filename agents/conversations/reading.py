"""Reads conversations: what the end user sees, and what the model is given."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import connections
from django.db.models import Exists, OuterRef, Q

from agents import wire
from agents.conversations.errors import NoConversation
from agents.conversations.models import Conversation, Message, Turn
from agents.conversations.records import Opened
from agents.conversations.visitors import Visitor
from tenants.context import current
from tenants.crypto import Broken

logger = logging.getLogger(__name__)
PAGE = 50
UNREADABLE = "This message can no longer be read."
MOST_MISSED = 200  # who was away for longer gets the newest, and the rest by `history`
# A question that waited in line stands before the answers it waited for, so seq alone does not tell what came first
HISTORY = """
select id, role, text from (
    select id, seq, role, text from conversations_message
    where conversation_id = %s and turn_id is distinct from %s and (role = 'agent' or role = 'user' and seq < %s)
    order by seq desc limit %s
) newest order by seq
"""
NEWEST_SEQ = "select seq from conversations_conversation where id = %(conversation)s"


@dataclass(frozen=True)
class Standing:
    """Where a conversation stands when a socket joins it."""

    conversation: UUID
    seq: int
    state: str
    missed: list  # events the client has not seen, in order
    running: list[wire.Cursor]  # turns without an answer, oldest first


def open_conversation(visitor: Visitor, channel: str = "page") -> Conversation | None:
    """The visitor's newest conversation that has not ended."""
    return (
        Conversation.objects.filter(end_user__secret_hash=visitor.secret_hash, channel=channel)
        .exclude(state=Conversation.State.CLOSED)
        .order_by("-created_at")
        .first()
    )


def newest_seq(conversation: UUID) -> int:
    """How far the events of a conversation have been counted; 0 if it is not there."""
    rows = connections[current().alias].alone(NEWEST_SEQ, {"conversation": conversation})
    return rows[0][0] if rows else 0


def exists(conversation: UUID) -> bool:
    """Whether a conversation with this id has begun, whoever's it is."""
    return Conversation.objects.filter(pk=conversation).exists()


def owned(conversation: UUID, visitor: Visitor) -> Conversation:
    """The conversation, if it is this visitor's. Raises NoConversation: not there and not yours are one answer."""
    found = Conversation.objects.filter(pk=conversation, end_user__secret_hash=visitor.secret_hash).first()
    if found is None:
        raise NoConversation
    return found


def needs_no_place(conversation: UUID, visitor: Visitor, client_id: UUID) -> bool:
    """Whether a message of this visitor begins no turn: it was stored before, or nobody answers by machine."""
    mine = Conversation.objects.filter(pk=conversation, end_user__secret_hash=visitor.secret_hash)
    stored = Exists(Turn.objects.filter(conversation=OuterRef("pk"), client_id=client_id))
    return mine.filter(~Q(state=Conversation.State.AGENT) | stored).exists()


def of_channel(conversation: UUID, channel: str) -> Conversation:
    """A conversation of one channel, with its end user. Raises NoConversation."""
    found = Conversation.objects.select_related("end_user").filter(pk=conversation, channel=channel).first()
    if found is None:
        raise NoConversation
    return found


def standing(conversation: UUID, *, after: int) -> Standing:
    """Everything a client needs that has seen durable events up to ``after``."""
    return standing_of(Conversation.objects.get(pk=conversation), after=after)


def standing_of(row: Conversation, *, after: int, following: UUID | None = None) -> Standing:
    """The same for a row that was read just now, and for a client that was following a turn, if it was."""
    conversation = row.pk
    # before the messages: an answer that ends between the two is in both, not in neither
    running = [
        wire.Cursor(turn=turn.pk, attempt=turn.attempt, n=0)
        for turn in Turn.objects.filter(conversation_id=conversation, state=Turn.State.RUNNING).order_by("started_at")
    ]
    unseen = Message.objects.filter(conversation_id=conversation, seq__gt=after)
    newest_first = unseen.select_related("feedback").order_by("-seq")[:MOST_MISSED]
    missed = [_as_event(message) for message in reversed(newest_first)]
    seq = max([row.seq, *(event.seq for event in missed)])  # an answer may have ended since the row was read
    if following and not any(cursor.turn == following for cursor in running):
        missed += _ended_without_words(following, conversation, missed)
    return Standing(row.pk, seq, row.state, missed, running)


def _as_event(message: Message):
    if message.role == Message.Role.AGENT and message.turn_id:
        return wire.TurnFinished(
            seq=message.seq, turn=message.turn_id, attempt=1, outcome=message.outcome, message=as_wire(message)
        )
    return wire.MessageEvent(seq=message.seq, message=as_wire(message))


def _ended_without_words(turn: UUID, conversation: UUID, missed: list) -> list[wire.TurnFinished]:
    if any(isinstance(event, wire.TurnFinished) and event.turn == turn for event in missed):
        return []
    event = finished(turn, conversation)
    return [event] if event else []


def is_running(turn: UUID, conversation: UUID) -> bool:
    """Whether a turn of this conversation has not ended."""
    return Turn.objects.filter(pk=turn, conversation_id=conversation, state=Turn.State.RUNNING).exists()


def finished(turn: UUID, conversation: UUID) -> wire.TurnFinished | None:
    """How a turn ended, as an event; None while it runs or when it is not of this conversation."""
    row = Turn.objects.filter(pk=turn, conversation_id=conversation).first()
    if row is None or row.state == Turn.State.RUNNING:
        return None
    said = list(Message.objects.select_related("feedback").filter(turn_id=turn).order_by("seq"))
    message = next((one for one in reversed(said) if one.role == Message.Role.AGENT), None)
    return wire.TurnFinished(
        # without an answer, its question's: any greater one may be that of a message which a client has not seen
        seq=(message or said[0]).seq,
        turn=turn,
        attempt=row.attempt,
        outcome=row.state,
        message=message and as_wire(message),
    )


def newest(
    conversation: UUID, *, before: int | None = None, limit: int = PAGE
) -> tuple[list[wire.StoredMessage], bool]:
    """``(messages, oldest first; whether there are older ones)``."""
    rows = Message.objects.filter(conversation_id=conversation).select_related("feedback").order_by("-seq")
    if before is not None:
        rows = rows.filter(seq__lt=before)
    found = list(rows[: limit + 1])
    return [as_wire(message) for message in reversed(found[:limit])], len(found) > limit


def history(conversation: UUID, *, turn: UUID, before: int) -> list[dict]:
    """What was said until this turn's question, which has seq ``before``, is answered; see `as_history`."""
    with connections[current().alias].cursor() as cursor:
        cursor.execute(HISTORY, [conversation, turn, before, settings.TURN_HISTORY_MESSAGES])
        return as_history(cursor.fetchall())


def as_history(rows: Iterable[tuple[UUID, str, bytes]]) -> list[dict]:
    """Messages as the model is given them: ``{"role", "text"}``, in the order of the rows (id, role, sealed text).

    One that does not open is left out: the rest of the conversation can go on.
    """
    unseal = Message._meta.get_field("text").unseal
    said = [(role, _opened(key, partial(unseal, sealed, key), None)) for key, role, sealed in rows]
    return [{"role": role, "text": text} for role, text in said if text is not None]


def _opened(message: UUID, read: Callable, instead):
    """What ``read`` gives; or something else, so that one row that is broken takes no others with it.

    Raises  crypto.KeyMissing: no row opens, and each does again once the key is back
    """
    try:
        return read()
    except Broken as error:
        fault = str(error)  # says all: each read of the row would log the same traceback
    logger.error("message cannot be read", extra={"message_id": str(message), "error": fault})
    return instead


def opened(conversation: UUID, client_id: UUID, *, question: str | None = None) -> Opened:
    """A turn that was opened before, without what is known `as_it_stands`.

    question  its text, where that is known; else it is read
    Raises    NoConversation, crypto.Unreadable
    """
    turn = Turn.objects.filter(conversation_id=conversation, client_id=client_id).select_related("conversation").first()
    if turn is None:
        raise NoConversation
    message = Message.objects.get(turn_id=turn.pk, role="user")
    return Opened(
        conversation=conversation, turn=turn.pk, attempt=turn.attempt, client_id=client_id, message=message.pk,
        seq=message.seq, created_at=message.created_at, question=message.text if question is None else question,
        state=turn.conversation.state, new=False, agent_id=turn.conversation.agent_id,
        channel=turn.conversation.channel,
    )  # fmt: skip


def as_it_stands(opened: Opened) -> Opened:
    """With what has been said by now, and the newest of the turns that still run and were asked for earlier."""
    earlier = Turn.objects.filter(
        conversation_id=opened.conversation, state=Turn.State.RUNNING, messages__role="user",
        messages__seq__lt=opened.seq,
    )  # fmt: skip
    return replace(
        opened,
        behind=earlier.order_by("-messages__seq").values_list("pk", flat=True).first(),
        history=history(opened.conversation, turn=opened.turn, before=opened.seq),
    )


def as_wire(message: Message, *, is_new: bool = False) -> wire.StoredMessage:
    """A row as the client sees it. is_new: nobody can have given it a thumb yet, so none is looked for."""
    thumb = getattr(message, "feedback", None) if message.role == Message.Role.AGENT and not is_new else None
    return wire.StoredMessage(
        id=message.pk,
        seq=message.seq,
        role=message.role,
        author=message.author,
        text=_opened(message.pk, lambda: message.text, UNREADABLE),
        created_at=message.created_at,
        outcome=message.outcome or None,
        citations=[wire.Citation(**item) for item in _opened(message.pk, lambda: message.citations, None) or []],
        feedback=thumb.value if thumb else 0,
        client_id=message.client_id,
        turn=message.turn_id,
    )
