"""Finds the passages that answer a question."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connections

from knowledge import embedder, sparse, vectors
from knowledge.models import KnowledgeBase
from platform_site.errors import PlatformError
from tenants.cache import TenantCache
from tenants.context import current
from tenants.ids import uuid7
from tenants.transactions import atomic, give_connections_back

logger = logging.getLogger(__name__)

PASSAGES = 6  # shown to a model, unless another number is asked for
MOST_CHARACTERS = 2_000  # of a question that are looked at
MIN_COVERAGE = 0.20  # beside a model: of the best keyword score that a passage could have
MIN_OF_BEST = 0.25  # by keywords alone. Not of the best possible: in a tenant's own subject no word is rare
LANGUAGE_SECONDS = 60
WIDER = 200  # passages asked for when too many of the first cannot be shown
PLACE_SECONDS = 0.05  # for which a look into the tables waits for those before it, each of which takes a millisecond

_places: dict[tuple[str, int], threading.BoundedSemaphore] = {}  # by alias and tenant id


class TablesBusy(OperationalError):
    """As many look into the tenant's tables as may; it may be a lock that keeps them. Tried again like one away."""


@dataclass(frozen=True)
class Found:
    """A passage of a ready document. score: higher is better, comparable within one answer only."""

    document: UUID
    passage: UUID
    title: str
    page: int | None
    heading: str
    text: str
    updated_at: datetime
    score: float


# What may be shown, as Found's fields but the score; in words, because putting it together takes as long as the search
STANDING = """
select d.id, p.id, d.title, p.page, p.heading, p.text, d.ready_at
from knowledge_passage p join knowledge_document d on d.id = p.document_id
where p.id = any(%(ids)s) and d.state = 'ready' and p.revision = d.revision
"""


@dataclass(frozen=True)
class Retrieved:
    """The best passages, best first. keyword_only: no embedding model took part, so other words find nothing."""

    passages: list[Found]
    keyword_only: bool


@dataclass(frozen=True)
class Candidates:
    """Hits of the vector store, best first; which of them may be shown, the tenant's tables say.

    words  the question's terms, as `sparse.query_vector` gives them
    dense  its embedding, of the model's length; None: by keywords alone
    bases  where was looked
    limit  how many passages are wanted at most; hits are up to twice as many
    """

    words: sparse.Sparse
    dense: list[float] | None
    bases: list[UUID]
    limit: int
    hits: "list[vectors.Hit]"


def find(question: str, *, bases: list[UUID], limit: int = PASSAGES) -> Retrieved:
    """Look for passages in these knowledge bases; none may come.

    Raises  VectorStoreDown, TablesBusy
    """
    return choose(find_candidates(question, bases=bases, limit=limit))


def find_candidates(question: str, *, bases: list[UUID], limit: int = PASSAGES) -> Candidates:
    """The first half of ``find``, which asks the vector store.

    Raises  VectorStoreDown, TablesBusy
    """
    question = question[:MOST_CHARACTERS]
    words = _words(question, bases)
    dense = _dense(question) if bases else None
    return Candidates(words, dense, bases, limit, _hits(words, dense, bases, 2 * limit))


def choose(found: Candidates) -> Retrieved:
    """The second half of ``find``, which asks the tenant's tables.

    Raises  VectorStoreDown, TablesBusy
    """
    hits, size = found.hits, 2 * found.limit
    while True:
        fitting = [hit for hit in hits if _good_enough(hit)]
        visible = _look_up(fitting)
        best = _without_stragglers(visible, found.dense)
        # Where fitting ones are hidden, because their documents are not ready, there may be others further down.
        if len(best) >= found.limit or len(visible) == len(fitting) or len(hits) < size or size == WIDER:
            return Retrieved(best[: found.limit], keyword_only=found.dense is None)
        size = WIDER
        hits = _hits(found.words, found.dense, found.bases, size)


def _hits(words: sparse.Sparse, dense: list[float] | None, bases: list[UUID], size: int) -> "list[vectors.Hit]":
    give_connections_back()
    return vectors.search(kbs=bases, dense=dense, sparse=words, terms=len(words[0]), limit=size)


def _words(question: str, bases: list[UUID]) -> sparse.Sparse:
    """The question's terms in each language that the bases have."""
    weights: dict[int, float] = {}
    for language in _languages.get(*sorted(bases)):
        weights |= dict(zip(*sparse.query_vector(question, language), strict=True))
    indices = sorted(weights)
    return indices, [weights[index] for index in indices]


def _read_languages(*bases: UUID) -> list[str]:
    with _place():
        return sorted(set(KnowledgeBase.objects.filter(pk__in=bases).values_list("language", flat=True)))


_languages = TenantCache(_read_languages, LANGUAGE_SECONDS)  # they hardly ever change, and a chat waits


def _dense(question: str) -> list[float] | None:
    """The question's meaning, or None: keywords must do."""
    if not embedder.configured():
        return None
    give_connections_back()
    try:
        [vector], used = embedder.embed([question], "query")
    except PlatformError as error:  # also where it will not work before the operator acts
        logger.warning("a question was not embedded", extra={"error": error.code})
        return None
    with atomic():
        embedder.record(uuid7(), used)
    return vector


def _good_enough(hit: "vectors.Hit") -> bool:
    return hit.cosine is None or hit.cosine >= embedder.MIN_COSINE or hit.coverage >= MIN_COVERAGE


def _without_stragglers(visible: list[Found], dense: list[float] | None) -> list[Found]:
    """By keywords alone, a passage that shares a word by chance falls far behind the best."""
    if dense or not visible:
        return visible
    return [passage for passage in visible if passage.score >= MIN_OF_BEST * visible[0].score]


def _look_up(hits: "list[vectors.Hit]") -> list[Found]:
    """What stands in the tenant's tables now: the vector store may be ahead of them, or behind."""
    if not hits:
        return []
    with _place():
        found = connections[current().alias].alone(STANDING, {"ids": [hit.id for hit in hits]})
    rows = {row[1]: row for row in found}
    return [Found(*rows[hit.id], hit.score) for hit in hits if hit.id in rows]


@contextmanager
def _place() -> Iterator[None]:
    """A quarter of this process's connections to a database, at least one, are for one tenant's searches.

    Where its tables are locked, questions are stored with the others: its own, and its neighbours'.
    Raises  TablesBusy
    """
    key = current().alias, current().id
    places = _places.get(key) or _places.setdefault(key, threading.BoundedSemaphore(max(1, settings.POOL_SIZE // 4)))
    if not places.acquire(blocking=False):
        give_connections_back()
        if not places.acquire(timeout=PLACE_SECONDS):
            raise TablesBusy
    try:
        yield
    finally:
        places.release()


os.register_at_fork(after_in_child=_places.clear)  # who holds them did not come along
