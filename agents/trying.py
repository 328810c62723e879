"""Builders' own conversations with an agent: each person has one with its draft, and one with its live version.

They are no customers' conversations: their channels are apart, nobody is told when a person is asked for. The tokens
are the tenant's like any others.
"""

from uuid import UUID

from agents import assembly, publishing, turns
from agents.conversations import reading, recording
from agents.conversations.models import Conversation
from agents.conversations.records import Opened
from agents.conversations.visitors import Visitor, known_by
from agents.models import AgentConfig
from knowledge import embedder
from tenants.accounts.models import User
from tenants.ids import uuid7

SUGGESTIONS = 4


def version_named(text: str | None) -> str:
    """``draft`` or ``live``; the draft unless the live version is asked for."""
    return text if text in Conversation.TRIALS else "draft"


def standing(agent: AgentConfig, *, by: User, version: str) -> dict:
    """What the panel shows: who answers, and what was said. Raises NotPublished."""
    channel = Conversation.TRIALS[version]
    answering = publishing.answering(agent.pk, channel)
    open_one = reading.open_conversation(_visitor(agent, by, version), channel)
    messages, _ = reading.newest(open_one.pk) if open_one else ([], False)
    return {
        "version": version,
        "tried": {
            "name": answering.name,
            "greeting": assembly.filled(answering.greeting, answering),
            "notice": answering.notice,
            "demo": assembly.agent_of(answering).is_demo,
            "keyword_search": not embedder.configured(),
        },
        "conversation_id": str(open_one.pk if open_one else uuid7()),
        "said": [message.model_dump(mode="json") for message in messages],
        "seq": open_one.seq if open_one else 0,
        "suggestions": answering.suggestions[:SUGGESTIONS],
    }


def ask(agent: AgentConfig, *, by: User, version: str, conversation: UUID, client_id: UUID, text: str) -> Opened:
    """Store a question to the agent and own its turn; see `turns.open_turn`, whose errors it raises."""
    channel = Conversation.TRIALS[version]
    return turns.open_turn(
        conversation=conversation, visitor=_visitor(agent, by, version), client_id=client_id, text=text,
        channel=channel, version=publishing.answering(agent.pk, channel),
    )  # fmt: skip


def own(agent: AgentConfig, *, by: User, version: str, conversation: UUID) -> UUID:
    """The id of a conversation that is this person's with this version of the agent. Raises NoConversation."""
    return reading.owned(conversation, _visitor(agent, by, version)).pk


def start_over(agent: AgentConfig, *, by: User, version: str) -> None:
    """End what this person has open with this version; the next question begins anew."""
    recording.close_conversations(_visitor(agent, by, version), Conversation.TRIALS[version])


def _visitor(agent: AgentConfig, by: User, version: str) -> Visitor:
    return known_by(f"{by.pk}:{agent.pk}", channel=Conversation.TRIALS[version])
