"""What happens when a socket says hello: who is it, which conversation, and what has it missed."""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from agents import assembly, publishing, wire
from agents.conversations import opening, reading, visitors
from agents.conversations.models import Conversation
from agents.conversations.visitors import BadTicket, Visitor
from knowledge import embedder
from tenants.ids import uuid7


@dataclass(frozen=True)
class Joined:
    """A socket that was let in. ``begun``: the conversation is there, and the visitor's."""

    visitor: Visitor
    conversation: UUID
    begun: bool
    ready: wire.Ready
    missed: list
    running: list[wire.Cursor]


def join(hello: wire.Hello, *, cookies: dict[str, str]) -> Joined:
    """Let the visitor of the cookie in, who must bring a fresh ticket of the page.

    Raises  BadTicket, NoConversation  (the conversation is not there, or not this visitor's)
    """
    secret = cookies.get(settings.VISITOR_COOKIE, "")
    if not secret or not hello.ticket:
        raise BadTicket
    visitor = visitors.known_by(secret)
    visitors.redeem(hello.ticket, visitor)
    facts = agent_facts()
    row = _conversation(hello, visitor)
    if row is None:  # none yet: its row comes with the first message
        fresh = hello.conversation or uuid7()
        ready = wire.Ready(conversation=fresh, seq=0, state="agent", agent=facts)
        return Joined(visitor, fresh, False, ready, [], [])
    conversation = row.pk
    standing = reading.standing_of(row, after=hello.seq, following=hello.turn.turn if hello.turn else None)
    running = [_resumed(cursor, hello.turn) for cursor in standing.running]
    ready = wire.Ready(
        conversation=conversation, seq=standing.seq, state=standing.state, agent=facts,
        turn=running[0] if running else None,
    )  # fmt: skip
    return Joined(visitor, conversation, True, ready, standing.missed, running)


def begin(conversation: UUID, visitor: Visitor) -> None:
    """Make the visitor's conversation, if its first message has not. Raises NoConversation: it is somebody else's."""
    opening.ensure(conversation=conversation, visitor=visitor, version=publishing.live_version(), channel="page")


def agent_facts() -> wire.AgentFacts:
    """What the page says of the agent that answers here."""
    agent = assembly.agent_of(publishing.live_version())
    return wire.AgentFacts(name=agent.version.name, demo=agent.is_demo, keyword_search=not embedder.configured())


def _conversation(hello: wire.Hello, visitor: Visitor) -> Conversation | None:
    if hello.conversation is None:
        return reading.open_conversation(visitor)
    if hello.seq == 0 and not reading.exists(hello.conversation):
        return None  # a page that was opened and has not been used yet
    return reading.owned(hello.conversation, visitor)


def _resumed(open_turn: wire.Cursor, client: wire.Cursor | None) -> wire.Cursor:
    """Where to go on: at the client's place if it has followed this attempt."""
    same = client and client.turn == open_turn.turn and client.attempt == open_turn.attempt
    return client if same else open_turn
