"""Stores what an end user asks: the message, the turn that will answer it, and with the first one the conversation.

Each verb is safe to repeat.
"""

from uuid import UUID

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
from agents.conversations.models import Conversation, EndUser, Message
from agents.conversations.records import Opened
from agents.conversations.visitors import Visitor
from tenants.context import current
from tenants.ids import uuid7
from tenants.transactions import atomic

MOST_WAITING = 5  # questions of one conversation, behind the one that is being answered
WAITING_RETRY_SECONDS = 5


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
# Whatever was counted since then may be a question in line; where it was an answer, two places stay empty for that
# moment: its own, and that of the turn which it ended.
# Where people answer, a message waits for nobody: its turn has ended as it begins.
OPEN_TURN = """
with conversation as (
    select c.id, c.state, c.seq from conversations_conversation c join conversations_enduser u on u.id = c.end_user_id
    where c.id = %(conversation)s and u.secret_hash = %(secret_hash)s
    for no key update of c
), seen as (
    select c.seq from conversations_conversation c join conversation on c.id = conversation.id
), busy as (
    select count(t.id) + conversation.seq - seen.seq as turns,
        (array_agg(t.id order by t.started_at desc))[1] as newest
    from conversation cross join seen
    left join conversations_turn t on t.conversation_id = conversation.id and t.state = 'running'
    group by conversation.seq, seen.seq
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
from conversation cross join busy cross join seen
left join counted on true
left join lateral (
    select id, seq, role, text from conversations_message
    where conversation_id = conversation.id and role in ('user', 'agent') order by seq desc limit %(history)s
) said on counted.seq is not null
order by said.seq
"""

# The same for a conversation that is not there yet; no row where it is.
OPEN_FIRST_TURN = """
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
    begun    a guess whether the conversation is there; a wrong one costs a round trip, nothing else
    Raises   MessageTooLong, EmptyMessage, NoConversation, ConversationClosed, TooManyWaiting  nothing is stored
    """
    message = Message(
        conversation_id=conversation, turn_id=turn, role="user", text=checked_text(text), client_id=client_id,
        created_at=timezone.now(),
    )  # fmt: skip
    found = _add(_parameters(message, visitor, version, channel), begun)
    if not found:
        raise NoConversation
    state, seq, seen, running, behind = found[0][:5]
    if state == Conversation.State.CLOSED:
        raise ConversationClosed
    if seq is None:
        return _opened_before(conversation, client_id, message.text, running)
    opened = Opened(
        conversation=conversation, turn=turn, attempt=1, client_id=client_id, message=message.pk, seq=seq,
        created_at=message.created_at, question=message.text, state=state, new=True, agent_id=version.agent_id,
        channel=channel, behind=behind, history=reading.as_history(row[5:] for row in found if row[5]),
    )  # fmt: skip
    return opened if seq == seen + 1 else reading.as_it_stands(opened)


def _opened_before(conversation: UUID, client_id: UUID, question: str, running: int) -> Opened:
    """Nothing was added: the message had come before, or too many wait."""
    try:
        return reading.opened(conversation, client_id, question=question)
    except NoConversation:
        if running > MOST_WAITING:
            raise TooManyWaiting(retry_after=WAITING_RETRY_SECONDS) from None
        raise


def _parameters(message: Message, visitor: Visitor, version, channel: str) -> dict:
    """What OPEN_TURN and OPEN_FIRST_TURN need."""
    sealed = Message._meta.get_field("text").pre_save(message, True)
    return {
        "conversation": message.conversation_id, "secret_hash": visitor.secret_hash, "end_user": uuid7(),
        "turn": message.turn_id, "client_id": message.client_id, "now": message.created_at, "version": version.pk,
        "agent": version.agent_id, "channel": channel, "message": message.pk, "text": bytes(sealed),
        "history": settings.TURN_HISTORY_MESSAGES, "most_waiting": MOST_WAITING,
    }  # fmt: skip


def _add(facts: dict, begun: bool) -> list[tuple]:
    """Add the message and its turn, to a conversation that is there or not.

    Returns  rows of the conversation's state, the message's seq if it is new, the seq up to which the rest is known,
             how many turns may be running and the newest of them, and id, role and text of an earlier message, if any
             is there; no row where the conversation is somebody else's
    """
    # the last once more: another socket may have begun it meanwhile
    statements = (OPEN_TURN, OPEN_FIRST_TURN, OPEN_TURN) if begun else (OPEN_FIRST_TURN, OPEN_TURN)
    alone = connections[current().alias].alone
    return next(filter(None, (alone(statement, facts) for statement in statements)), [])


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
