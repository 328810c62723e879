"""Writes what happens in a conversation. Each verb is one transaction in the tenant's schema, and safe to repeat."""

import logging
from contextlib import nullcontext
from uuid import UUID, uuid5

from django.db import connections
from django.utils import timezone

from agents import wire
from agents.conversations import reading
from agents.conversations.errors import NoConversation
from agents.conversations.models import Conversation, Feedback, Handoff, Message, ToolCall, Turn
from agents.conversations.records import Called, Opened, Use
from agents.conversations.visitors import Visitor
from metering import limits
from metering.outbox import events as outbox
from tenants.context import current
from tenants.crypto import Broken
from tenants.transactions import after_commit, atomic

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 2  # a turn that has ended two owners would end a third
HANDOFF_TEXT = (
    "The team has been told that you would like to talk to a person. They answer by the contact details on their "
    "site; until then you can go on asking here."
)
HANDOFF_TRIED = "Here a customer reads that the team has been told. In this test chat nobody was."


def close_turn(
    *,
    opened: Opened,
    attempt: int,
    outcome: str,
    author: str,
    text: str,
    citations: list[wire.Citation],
    tool_calls: list[Called],
    uses: list[Use],
) -> wire.TurnFinished | None:
    """Store the answer, its citations, tool calls and usage. None when this attempt was deposed: the answer is dropped.

    An answer without a word is not stored as a message; its turn and usage are. The caller announces the usage:
    ``limits.settle(announce=True)``.
    """
    message = Message(
        conversation_id=opened.conversation, turn_id=opened.turn, role="agent", author=author, text=text,
        outcome=outcome, citations=[item.model_dump(mode="json") for item in citations] or None,
        created_at=timezone.now(),
    )  # fmt: skip
    with atomic() if tool_calls else nullcontext():  # without any, it is one statement
        message.seq = _close(message, attempt, [_usage(opened, attempt, use) for use in uses])
        if message.seq is None:
            return None
        if tool_calls:
            ToolCall.objects.bulk_create([_tool_call(opened.turn, attempt, call) for call in tool_calls])
    return wire.TurnFinished(
        seq=message.seq, turn=opened.turn, attempt=attempt, outcome=outcome,
        message=reading.as_wire(message, is_new=True) if text else None,
    )  # fmt: skip


# All or nothing, as opening.OPEN_TURN. Usage is recorded even if the attempt was deposed; then nothing is counted, or
# said. The outbox's statement is part of it, so that there is one text of it; it is a constant of ours, and whatever
# comes from outside is a parameter of it as of this
CLOSE = f"""
with used as ({outbox.INSERT}), closed as (
    update conversations_turn set state = %(outcome)s, finished_at = now()
    where id = %(turn)s and attempt = %(attempt)s and state = 'running' returning conversation_id
), counted as (
    update conversations_conversation set seq = seq + 1, updated_at = now()
    where id = (select conversation_id from closed) returning id, seq
), said as (
    insert into conversations_message
        (id, conversation_id, turn_id, seq, role, author, text, citations, outcome, created_at)
    select %(message)s, id, %(turn)s, seq, 'agent', %(author)s, %(text)s, %(citations)s::bytea, %(outcome)s, %(now)s
    from counted where %(has_text)s
)
select seq from counted
"""  # noqa: S608  see above


def _close(message: Message, attempt: int, uses: list[outbox.Event]) -> int | None:
    """The number of the conversation's event that this is; None when the attempt was deposed."""
    text, citations = (Message._meta.get_field(name).pre_save(message, True) for name in ("text", "citations"))
    facts = {
        "outcome": message.outcome, "turn": message.turn_id, "attempt": attempt, "message": message.pk,
        "author": message.author, "text": bytes(text), "citations": citations and bytes(citations),
        "now": message.created_at, "has_text": bool(message.text), **outbox.parameters(uses),
    }  # fmt: skip
    rows = connections[current().alias].alone(CLOSE, facts)
    return rows[0][0] if rows else None


def _usage(opened: Opened, attempt: int, use: Use) -> outbox.Event:
    return outbox.event(
        event_id=use.id, kind="model", model=use.model, input_tokens=use.input_tokens,
        output_tokens=use.output_tokens, cached_tokens=use.cached_tokens, certainty=use.certainty,
        agent_id=opened.agent_id, turn_id=opened.turn, attempt=attempt,
    )  # fmt: skip


def _tool_call(turn: UUID, attempt: int, call: Called) -> ToolCall:
    return ToolCall(
        turn_id=turn, attempt=attempt, name=call.name, arguments=call.arguments, result=call.result, ok=call.ok,
        milliseconds=call.milliseconds,
    )  # fmt: skip


def _count_up(conversation: UUID) -> int:
    with connections[current().alias].cursor() as cursor:
        cursor.execute(
            "update conversations_conversation set seq = seq + 1, updated_at = now() where id = %s returning seq",
            [conversation],
        )
        return cursor.fetchone()[0]


def take_over(
    turn: UUID, *, attempt: int, said: str = "", stopped: bool = False, use: Use | None = None
) -> Opened | None:
    """Claim a turn whose owner died in ``attempt``: the new attempt's data, or None when it is finished or not ours.

    A turn that was to be stopped, that a tool has written in, that has ended two owners, or whose question cannot be
    read, is not run again: what it had said is kept as its answer.

    said  by the dead attempt, as far as it is known
    use   of the dead attempt; recorded once
    """
    with atomic():
        row = (
            Turn.objects.select_for_update()
            .filter(pk=turn, attempt=attempt, state=Turn.State.RUNNING)
            .select_related("conversation")
            .first()
        )
        if row is None:
            return None
        if use:
            _record_lost_use(row, use)
        if stopped or row.wrote or row.attempt >= MOST_ATTEMPTS:
            _end_unfinished(row, said, Turn.State.STOPPED if stopped else Turn.State.INTERRUPTED)
            return None
        row.attempt += 1
        row.save(update_fields=["attempt"])
        try:
            return reading.as_it_stands(reading.opened(row.conversation_id, row.client_id))
        except Broken as error:  # each sweep would meet it again
            logger.error("question cannot be read", extra={"turn": str(turn), "error": str(error)})
            _end_unfinished(row, said, Turn.State.INTERRUPTED)
            return None


def _record_lost_use(turn: Turn, use: Use) -> None:
    used = use.input_tokens + use.output_tokens
    # Here, where the attempt is taken over: a second sweeper that comes late must not settle, for it would give back
    # what the next attempt has claimed
    after_commit(limits.settle, turn_id=turn.pk, tokens=used, attempt=turn.attempt)
    outbox.record(
        event_id=uuid5(turn.pk, f"attempt {turn.attempt}"), kind="model", model=use.model,
        input_tokens=use.input_tokens, output_tokens=use.output_tokens, cached_tokens=use.cached_tokens,
        certainty=use.certainty, agent_id=turn.conversation.agent_id, turn_id=turn.pk, attempt=turn.attempt,
    )  # fmt: skip


def _end_unfinished(turn: Turn, said: str, state: str) -> None:
    turn.state, turn.finished_at = state, timezone.now()
    turn.save(update_fields=["state", "finished_at"])
    if said:
        Message.objects.create(
            conversation_id=turn.conversation_id, turn_id=turn.pk, seq=_count_up(turn.conversation_id), role="agent",
            text=said, outcome=state,
        )  # fmt: skip


def mark_written(turn: UUID) -> None:
    """A tool is about to change data: from now on the turn may not run again from its beginning."""
    Turn.objects.filter(pk=turn).update(wrote=True)


def request_human(conversation: UUID) -> wire.MessageEvent:
    """Note that the end user wants a person, and tell them so."""
    with atomic():
        seq = _count_up(conversation)
        tried = Conversation.objects.filter(pk=conversation, channel__in=Conversation.TRIALS.values()).exists()
        if not tried:
            Handoff.objects.create(conversation_id=conversation, reason=Handoff.Reason.ASKED)
        text = HANDOFF_TRIED if tried else HANDOFF_TEXT
        message = Message.objects.create(conversation_id=conversation, seq=seq, role="system", text=text)
    return wire.MessageEvent(seq=seq, message=reading.as_wire(message))


def give_feedback(conversation: UUID, message: UUID, value: int) -> None:
    """Set or take back the thumb on an answer. Raises NoConversation when it is not an answer of this conversation."""
    if not Message.objects.filter(pk=message, conversation_id=conversation, role="agent").exists():
        raise NoConversation("This answer does not exist.")
    if value == 0:
        Feedback.objects.filter(message_id=message).delete()
    else:
        Feedback.objects.update_or_create(message_id=message, defaults={"value": value})


def close_conversations(visitor: Visitor, channel: str = "page") -> None:
    """End what this visitor has open on the hosted page, or another channel; the next message begins anew."""
    Conversation.objects.filter(end_user__secret_hash=visitor.secret_hash, channel=channel).exclude(
        state=Conversation.State.CLOSED
    ).update(state=Conversation.State.CLOSED, updated_at=timezone.now())
