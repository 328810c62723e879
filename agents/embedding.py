"""The embedding model, for the knowledge app, which knows no models itself."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

from django.conf import settings

from agents import llm
from agents.errors import ModelUnavailable
from knowledge import embedder
from metering.outbox import events
from platform_site.circuit_breaker import CircuitBreaker

QUERY_SECONDS = 3  # somebody chats, and keywords find most of it
OPEN_SECONDS = 10

_breaker = CircuitBreaker(OPEN_SECONDS)
_threads = ThreadPoolExecutor(settings.BESIDE_THREADS, thread_name_prefix="embedding")


def embed(texts: list[str], kind: embedder.Kind) -> tuple[list[list[float]], int]:
    """(One vector for each text, tokens used), by settings.EMBEDDING_MODEL.

    kind    "passage": a worker waits for it; "query": QUERY_SECONDS at most, and a provider that is silent is not
            asked
    Raises  ModelUnavailable, ModelRefused
    """
    if kind != "query":
        return llm.embed(settings.EMBEDDING_MODEL, texts, seconds=settings.MODEL_FIRST_TOKEN_SECONDS)
    llm.warm()  # its time is not the provider's
    until = time.monotonic() + QUERY_SECONDS
    refusal = partial(ModelUnavailable, retry_after=OPEN_SECONDS)
    with _breaker.asking(refusal, is_failure=lambda error: time.monotonic() >= until):
        asked = _threads.submit(llm.embed, settings.EMBEDDING_MODEL, texts, seconds=QUERY_SECONDS)
        try:  # the client's limit is for each read, and a provider may send a byte a second
            return asked.result(QUERY_SECONDS)
        except TimeoutError as error:
            asked.cancel()
            raise ModelUnavailable(retry_after=OPEN_SECONDS) from error


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
