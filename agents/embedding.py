"""The embedding model, for the knowledge app, which knows no models itself."""

import time
from functools import partial
from uuid import UUID

from django.conf import settings

from agents import llm
from agents.errors import ModelUnavailable
from metering.outbox import events
from platform_site.silence import Silence

QUERY_SECONDS = 3  # somebody chats, and keywords find most of it
SILENT_SECONDS = 10

_silence = Silence(SILENT_SECONDS)


def embed(texts: list[str], kind: str) -> tuple[list[list[float]], int]:
    """(One vector for each text, tokens used), by settings.EMBEDDING_MODEL.

    kind    "passage", which a worker waits for, or "query": then a provider that is silent is not asked
    Raises  ModelUnavailable, ModelRefused
    """
    if kind != "query":
        return llm.embed(settings.EMBEDDING_MODEL, texts, seconds=settings.MODEL_FIRST_TOKEN_SECONDS)
    llm.warm()  # its time is not the provider's
    until = time.monotonic() + QUERY_SECONDS
    refusal = partial(ModelUnavailable, retry_after=SILENT_SECONDS)
    with _silence.asking(refusal, was_in_vain=lambda error: time.monotonic() >= until):
        return llm.embed(settings.EMBEDDING_MODEL, texts, seconds=QUERY_SECONDS)


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
