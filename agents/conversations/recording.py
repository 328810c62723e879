"""Writes what happens in a conversation. Each verb is one transaction in the tenant's schema, and safe to repeat."""

from contextlib import nullcontext
from uuid import UUID, uuid5

from django.conf import settings
from django.db import IntegrityError, connections
from django.utils import timezone

from agents import wire
from agents.conversations import reading
from agents.conversations.errors import (
    ConversationClosed,
    EmptyMessage,
    MessageTooLong,
    NoConversation,
    TooManyWaiting,
)
from agents.conversations.models import Conversation, EndUser, Feedback, Handoff, Message, ToolCall, Turn
from agents.conversations.records import Called, Opened, Use
from agents.conversations.visitors import Visitor
from metering.outbox import events as outbox
from tenants.context import current
from tenants.ids import uuid7
from tenants.transactions import atomic

MOST_ATTEMPTS = 2  # a turn that has ended two owners would end a third
MOST_WAITING = 5  # questions of one conversation, behind the one that is being answered
WAITING_RETRY_SECONDS = 5
HANDOFF_TEXT = (
    "The team has been told that you would like to talk to a person. They answer by the contact details on their "
    "site; until then you can go on asking here."
)
HANDOFF_TRIED = "Here a customer reads that the team has been told. In this test chat nobody was."


def checked_text(text: str) -> str:
    """The message without surrounding space. Raises EmptyMessage, MessageTooLong."""
    clean = text.strip().replace("\0", "")
    if not clean:
        raise EmptyMessage
    if len(clean) > wire.MESSAGE_CHARACTERS:
        raise MessageTooLong(
            f"Your message has {len(clean):,} characters; at most {wire.MESSAGE_CHARACTERS:,} can be sent. "
            "Please shorten it.",
            limit=wire.MESSAGE_CHARACTERS,
            length=len(clean),
        )
    return clean


# All or nothing, and without a transaction's two further round trips. A client id that has come before adds nothing and
# has no seq. What was said before comes along, one row each. The lock gives each question its place, but whoever waited
# for it still sees turns and messages as they were before; `seen`, the counter of that time, tells (see `open_turn`).
# Where people answer, a message waits for nobody: its turn has ended as it begins.
OPEN_TURN = """
with conversation as (
    select c.id, c.state from conversations_conversation c join conversations_enduser u on u.id = c.end_user_id
    where c.id = %(conversation)s and u.secret_hash = %(secret_hash)s
    for no key update of c
), busy as (
    select count(*) as turns, (array_agg(t.id order by t.started_at desc))[1] as newest
    from conversations_turn t join conversation on t.conversation_id = conversation.id where t.state = 'running'
), turn as (
    insert into conversations_turn (id, conversation_id, client_id, state, attempt, wrote, started_at, finished_at)
    select %(turn)s, id, %(client_id)s, case state when 'agent' then 'running' else 'done' end, 1, false, %(now)s,
        case state when 'agent' then null else %(now)s::timestamptz end
    from conversation, busy
    where state <> 'closed' and (state <> 'agent' or busy.turns <= %(most_waiting)s)
    on conflict (conversation_id, client_id) do nothing
    returning conversation_id
), counted as (
    update conversations_conversation c set seq = seq + 1, updated_at = now(), version_id = %(version)s
    from turn where c.id = turn.conversation_id
    returning c.seq
), message as (
    insert into conversations_message
        (id, conversation_id, turn_id, seq, role, author, text, outcome, client_id, created_at)
    select %(message)s, %(conversation)s, %(turn)s, seq, 'user', '', %(text)s, '', %(client_id)s, %(now)s from counted
)
select conversation.state, counted.seq, seen.seq, busy.turns, busy.newest, said.id, said.role, said.text
from conversation cross join busy join conversations_conversation seen on seen.id = conversation.id
left join counted on true
left join lateral (
    select id, seq, role, text from conversations_message
    where conversation_id = conversation.id and role in ('user', 'agent') order by seq desc limit %(history)s
) said on counted.seq is not null
order by said.seq
"""


# The same for a conversation that is not there yet; no row where it is.
BEGIN = """
with end_user as (
    insert into conversations_enduser (id, secret_hash, created_at, seen_at)
    select %(end_user)s, %(secret_hash)s, %(now)s, %(now)s
    where not exists (select from conversations_conversation where id = %(conversation)s)
    on conflict (secret_hash) do update set seen_at = excluded.seen_at
    returning id
), conversation as (
    insert into conversations_conversation
        (id, end_user_id, agent_id, version_id, channel, state, seq, created_at, updated_at)
    select %(conversation)s, id, %(agent)s, %(version)s, %(channel)s, 'agent', 1, %(now)s, %(now)s from end_user
    on conflict (id) do nothing
    returning id
), turn as (
    insert into conversations_turn (id, conversation_id, client_id, state, attempt, wrote, started_at)
    select %(turn)s, id, %(client_id)s, 'running', 1, false, %(now)s from conversation
    returning conversation_id
), message as (
    insert into conversations_message
        (id, conversation_id, turn_id, seq, role, author, text, outcome, client_id, created_at)
    select %(message)s, conversation_id, %(turn)s, 1, 'user', '', %(text)s, '', %(client_id)s, %(now)s from turn
)
select 'agent', 1, 0, 0, null::uuid, null::uuid, null, null from turn
"""


def open_turn(
    *,
    turn: UUID,
    conversation: UUID,
    visitor: Visitor,
    client_id: UUID,
    text: str,
    version,
    channel: str = "page",
    begun: bool = True,
) -> Opened:
    """Store an end user's message and the turn that will answer it; the first message makes the conversation too.

    turn     the id of the turn, if this is a new message; an earlier turn of the same ``client_id`` is returned instead
    version  the published AgentVersion that answers
    begun    whether the conversation is probably there
    Raises   MessageTooLong, EmptyMessage, NoConversation, ConversationClosed, TooManyWaiting  nothing is stored
    """
    message = Message(
        conversation_id=conversation, turn_id=turn, role="user", text=checked_text(text), client_id=client_id,
        created_at=timezone.now(),
    )  # fmt: skip
    found = _added(_facts(message, visitor, version, channel), begun)
    if not found:
        raise NoConversation
    state, seq, seen, running, behind = found[0][:5]
    if state == Conversation.State.CLOSED:
        raise ConversationClosed
    if seq is None:
        return _opened_before(conversation, client_id, running)
    opened = Opened(
        conversation=conversation, turn=turn, attempt=1, client_id=client_id, message=message.pk, seq=seq,
        created_at=message.created_at, question=message.text, state=state, new=True, agent_id=version.agent_id,
        channel=channel, behind=behind, history=reading.as_history(row[5:] for row in found if row[5]),
    )  # fmt: skip
    return opened if seq == seen + 1 else reading.as_it_stands(opened)


def _opened_before(conversation: UUID, client_id: UUID, running: int) -> Opened:
    """Nothing was added: the message had come before, or too many wait."""
    try:
        return reading.opened(conversation, client_id)
    except NoConversation:
        if running > MOST_WAITING:
            raise TooManyWaiting(retry_after=WAITING_RETRY_SECONDS) from None
        raise


def _facts(message: Message, visitor: Visitor, version, channel: str) -> dict:
    """What OPEN_TURN and BEGIN need."""
    sealed = Message._meta.get_field("text").pre_save(message, True)
    return {
        "conversation": message.conversation_id, "secret_hash": visitor.secret_hash, "end_user": uuid7(),
        "turn": message.turn_id, "client_id": message.client_id, "now": message.created_at, "version": version.pk,
        "agent": version.agent_id, "channel": channel, "message": message.pk, "text": bytes(sealed),
        "history": settings.TURN_HISTORY_MESSAGES, "most_waiting": MOST_WAITING,
    }  # fmt: skip


def _added(facts: dict, begun: bool) -> list[tuple]:
    """Add the message and its turn, to a conversation that is there or not.

    Returns  rows of the conversation's state, the message's seq if it is new, the seq up to which the rest is known,
             how many turns were running and the newest of them, and id, role and text of an earlier message, if any is
             there; no row where the conversation is somebody else's
    """
    with connections[current().alias].cursor() as cursor:
        for statement in (OPEN_TURN, BEGIN, OPEN_TURN)[not begun :]:  # once more: another socket may have begun it
            cursor.execute(statement, facts)
            if rows := cursor.fetchall():
                return rows
    return []


def start(*, conversation: UUID, visitor: Visitor, version, channel: str) -> Conversation:
    """Make a conversation of this visitor with the agent of ``version``."""
    end_user, _ = EndUser.objects.get_or_create(secret_hash=visitor.secret_hash)
    return Conversation.objects.create(
        id=conversation, end_user=end_user, agent_id=version.agent_id, version_id=version.pk, channel=channel
    )


def ensure(*, conversation: UUID, visitor: Visitor, version, channel: str) -> None:
    """Make the conversation unless it is there. Raises NoConversation: it is another visitor's."""
    try:
        with atomic():
            start(conversation=conversation, visitor=visitor, version=version, channel=channel)
    except IntegrityError:
        reading.owned(conversation, visitor)


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

    An answer without a word is not stored as a message; its turn and usage are.
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


# All or nothing, as OPEN_TURN. Usage is recorded even if the attempt was deposed; then nothing is counted or said
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
"""  # noqa: S608  both are ours


def _close(message: Message, attempt: int, uses: list[outbox.Event]) -> int | None:
    """The number of the conversation's event that this is; None when the attempt was deposed."""
    text, citations = (Message._meta.get_field(name).pre_save(message, True) for name in ("text", "citations"))
    with outbox.announced(uses), connections[current().alias].cursor() as cursor:
        cursor.execute(
            CLOSE,
            {
                "outcome": message.outcome, "turn": message.turn_id, "attempt": attempt, "message": message.pk,
                "author": message.author, "text": bytes(text), "citations": citations and bytes(citations),
                "now": message.created_at, "has_text": bool(message.text), **outbox.parameters(uses),
            },
        )  # fmt: skip
        row = cursor.fetchone()
    return row[0] if row else None


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

    A turn that was to be stopped, that a tool has written in, or that has ended two owners, is not run again: what it
    had said is kept as its answer.

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
        return reading.as_it_stands(reading.opened(row.conversation_id, row.client_id))


def _record_lost_use(turn: Turn, use: Use) -> None:
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
