"""The embedding model, for the knowledge app, which knows no models itself."""

import asyncio
import os
import threading
import time
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
_starting = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


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
        asked = llm.aembed(settings.EMBEDDING_MODEL, texts, seconds=QUERY_SECONDS)
        return asyncio.run_coroutine_threadsafe(asked, _running_loop()).result()


def _running_loop() -> asyncio.AbstractEventLoop:
    """Where questions are embedded: only on a loop can a request be ended whose answer trickles in."""
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="embedding", daemon=True).start()
        return _loop


def _forget() -> None:
    """Threads do not live on in a fork."""
    global _loop, _starting
    _loop, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


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
