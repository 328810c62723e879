"""Turns text into vectors of meaning, where an embedding model is configured.

The model itself is called by the app that knows models; it registers here, so that this app knows none.
"""

from collections.abc import Callable
from typing import Literal
from uuid import UUID

from django.conf import settings

Kind = Literal["passage", "query"]
Embed = Callable[[list[str], Kind], tuple[list[list[float]], int]]
Record = Callable[..., None]

BATCH = 64  # texts in one call
MIN_COSINE = 0.30  # below it a passage is no answer, unless its words say otherwise; belongs to the model

_embed: Embed | None = None
_record: Record | None = None


def register(embed: Embed, *, record: Record | None = None) -> None:
    """Say who embeds, and who writes down what it used.

    embed   (texts, kind) -> (one vector for each text, tokens used); raises PlatformError, TemporaryFailure if trying
            again can help; for a query soon, because somebody waits
    record  (event_id=UUID, tokens=int), called inside the transaction that stores what the tokens were spent on
    """
    global _embed, _record
    _embed, _record = embed, record


def configured() -> bool:
    """Whether there is a model; without one, search goes by keywords alone."""
    return bool(settings.EMBEDDING_MODEL)


def embed(texts: list[str], kind: Kind) -> tuple[list[list[float]], int]:
    """(One vector for each text, tokens used). At most BATCH texts.

    Raises  TemporaryFailure  the model does not answer now
            PlatformError     it will not
    """
    if _embed is None:
        raise RuntimeError("EMBEDDING_MODEL is set, but nobody has registered to embed")
    vectors, tokens = _embed(texts, kind)
    if len(vectors) != len(texts):
        raise RuntimeError(f"{len(texts)} texts gave {len(vectors)} vectors")
    return vectors, tokens


def record(event_id: UUID, tokens: int) -> None:
    """Write down what was used; the same event twice counts once. Call it inside the data transaction."""
    if _record and tokens:
        _record(event_id=event_id, tokens=tokens)
