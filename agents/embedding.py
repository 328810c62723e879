"""The embedding model, for the knowledge app, which knows no models itself."""

from uuid import UUID

from django.conf import settings

from agents import llm
from metering.outbox import events


def embed(texts: list[str], kind: str) -> tuple[list[list[float]], int]:
    """(One vector for each text, tokens used), by settings.EMBEDDING_MODEL. Raises ModelUnavailable, ModelRefused."""
    return llm.embed(settings.EMBEDDING_MODEL, texts)


def record(*, event_id: UUID, tokens: int) -> None:
    """Write an embedding's tokens into the outbox, in the caller's transaction."""
    events.record(
        event_id=event_id,
        kind="embedding",
        model=settings.EMBEDDING_MODEL,
        input_tokens=tokens,
        output_tokens=0,
        certainty="exact",
    )
