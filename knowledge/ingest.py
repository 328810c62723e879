"""Brings documents from an uploaded file to passages that can be found.

Who works on a document holds its lease. Every change of the row is fenced by it, so a worker that was thought dead
changes nothing any more. Points and passages have ids that follow from document, revision and number: written twice,
they are there once. A document is found only once it is ready, whatever stands in the vector store before.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Event, Thread
from uuid import UUID, uuid4, uuid5

from django.core.files.storage import default_storage
from django.db import DatabaseError, connections
from django.db.models import F
from django.db.models.functions import Now

from knowledge import chunks, embedder, parsing, sparse, tokens, vectors
from knowledge.errors import VectorStoreDown
from knowledge.models import Document, Passage
from platform_site.errors import PlatformError, TemporaryFailure
from tenants import lifecycle
from tenants.context import current
from tenants.transactions import atomic

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
AGAIN = timedelta(seconds=20)  # after a failure that may pass
INTERRUPTED = (
    "Reading this document was interrupted three times. Try again; if it fails again, split it into smaller files."
)
FILE_GONE = "The stored file is gone. Remove this document and upload the file again."


class LeaseLost(Exception):
    """Somebody else has the document now, or it was removed."""


def next_document(token_id: UUID, seq: int) -> None:
    """Use a token's message: bring one waiting document of the tenant to an end, and queue the token again.

    Of a paused tenant nothing is done: the token's lease ends, and the sweeper gives a new one once it goes on.

    seq  as in the message; an old one does nothing
    """
    if lifecycle.is_paused(current()):
        return
    if not tokens.take(token_id, seq):
        return
    document = claim(uuid4())
    if document is None:
        tokens.give_back(token_id)
        return
    try:
        with Lease(document, token_id, seq + 1) as lease:
            _work(document, lease)
    finally:
        tokens.queue_again(token_id, seq + 1)


def claim(owner: UUID) -> Document | None:
    """Take the longest waiting document; None if there is none. One that broke too many attempts is given up."""
    while True:
        with atomic():
            waiting = Document.objects.waiting().select_for_update(skip_locked=True, of=["self"])
            document = waiting.select_related("base").order_by("created_at").first()
            if document is None:
                return None
            mine = Document.objects.filter(pk=document.pk)
            if document.attempts < MOST_ATTEMPTS:
                mine.update(
                    state=Document.State.READING, lease_owner=owner, lease_until=Now() + tokens.LEASE, moved_at=Now(),
                    attempts=F("attempts") + 1, done=0, total=0, error_code="", error_text="",
                )  # fmt: skip
                document.lease_owner = owner
                document.attempts += 1
                return document
            mine.update(**_ended(Document.State.FAILED), error_code="interrupted", error_text=INTERRUPTED)
        _forget_points(document)


class Lease:
    """A worker's hold on a document, kept by a thread while the block runs.

    An error that leaves the block leads to another attempt after a short while; see MOST_ATTEMPTS.
    """

    def __init__(self, document: Document, token_id: UUID, seq: int):
        self.document, self.owner = document, document.lease_owner
        self.token_id, self.seq = token_id, seq
        self._over = Event()

    def __enter__(self) -> "Lease":
        self._thread = Thread(target=copy_context().run, args=[self._keep], name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._over.set()
        self._thread.join()
        if kind is not None:
            self._mine().update(lease_until=Now() + AGAIN)

    def step(self, **fields) -> None:
        """Write down progress. Raises LeaseLost."""
        if not self._mine().update(lease_until=Now() + tokens.LEASE, moved_at=Now(), **fields):
            raise LeaseLost

    def end(self, state: Document.State, **fields) -> None:
        """Let go of the document in its last state. Raises LeaseLost."""
        if not self._mine().update(**_ended(state), **fields):
            raise LeaseLost

    def postpone(self, error: PlatformError) -> None:
        """Let go of it for a while, through no fault of its own: the attempt does not count."""
        pause = max(AGAIN, timedelta(seconds=error.details.get("retry_after", 0)))
        self._mine().update(
            state=Document.State.QUEUED, lease_owner=None, lease_until=Now() + pause,
            attempts=F("attempts") - 1, error_code=error.code[:20], error_text=str(error)[:300],
        )  # fmt: skip

    def _mine(self):
        return Document.objects.filter(pk=self.document.pk, lease_owner=self.owner)

    def _keep(self) -> None:
        while not self._over.wait(tokens.RENEW_SECONDS):
            try:
                self._mine().update(lease_until=Now() + tokens.LEASE)
                tokens.renew(self.token_id, self.seq)
            except DatabaseError:  # the lease lasts two more rounds
                logger.warning("a lease was not renewed", extra={"document": str(self.document.pk)})
        connections[current().alias].close()


def _work(document: Document, lease: Lease) -> None:
    """All steps, and what becomes of a document that cannot take them."""
    try:
        _ingest(document, lease)
    except LeaseLost:
        logger.info("a document changed hands", extra={"document": str(document.pk)})
        if not Document.objects.unfinished().filter(pk=document.pk).exists():
            _forget_points(document)  # it was removed while we wrote
    except TemporaryFailure as error:
        lease.postpone(error)
    except PlatformError as error:
        _fail(lease, error.code, str(error))
    except FileNotFoundError:
        _fail(lease, "file_gone", FILE_GONE)


def _ingest(document: Document, lease: Lease) -> None:
    with _file(document) as path:
        parsed = parsing.parse(path, kind=document.kind)
    if not parsed.title:
        parsed = replace(parsed, title=document.title_by_name)
    lease.step(state=Document.State.SPLITTING, title=parsed.title[:200])
    pieces = chunks.split(parsed)
    with atomic():
        lease.step(state=Document.State.INDEXING, total=len(pieces))
        _store(document, pieces)
    for start in range(0, len(pieces), embedder.BATCH):
        _index(document, lease, start, pieces[start : start + embedder.BATCH])
    vectors.delete_document(document.pk, below_revision=document.revision)
    with atomic():
        lease.end(Document.State.READY, ready_at=Now())
        Passage.objects.filter(document=document, revision__lt=document.revision).delete()


@contextmanager
def _file(document: Document) -> Iterator[Path]:
    """The uploaded file as one of this machine, wherever it is stored."""
    with NamedTemporaryFile() as copy:
        with default_storage.open(document.path) as stored:
            shutil.copyfileobj(stored, copy)
        copy.flush()
        yield Path(copy.name)


def _store(document: Document, pieces: list[chunks.Chunk]) -> None:
    """The passages of this revision, instead of those of an attempt that broke off."""
    Passage.objects.filter(document=document, revision=document.revision).delete()
    rows = (
        Passage(
            id=passage_id(document, piece.n), document=document, revision=document.revision, n=piece.n,
            text=piece.text, heading=piece.heading[:500], page=piece.page,
            char_start=piece.char_start, char_end=piece.char_end,
        )
        for piece in pieces
    )  # fmt: skip
    Passage.objects.bulk_create(rows, batch_size=500)


def _index(document: Document, lease: Lease, start: int, pieces: list[chunks.Chunk]) -> None:
    """Make a batch of passages findable, and write down what that used together with the progress."""
    texts = [piece.embed_text for piece in pieces]
    dense, used = embedder.embed(texts, "passage") if embedder.configured() else ([None] * len(texts), 0)
    if start == 0:
        vectors.ensure_collection(dense_size=len(dense[0]) if dense[0] else None)
    language = document.base.language
    vectors.upsert(
        [
            vectors.Point(
                id=passage_id(document, piece.n),
                kb=document.base_id,
                document=document.pk,
                revision=document.revision,
                dense=vector,
                sparse=sparse.document_vector(piece.embed_text, language),
            )
            for piece, vector in zip(pieces, dense, strict=True)
        ]
    )
    with atomic():
        lease.step(done=start + len(pieces))
        embedder.record(uuid5(document.pk, f"{document.revision}:{start}:{lease.owner}"), used)


def passage_id(document: Document, n: int) -> UUID:
    """The id of a passage and of its point: the same whenever this revision is worked on."""
    return uuid5(document.pk, f"{document.revision}:{n}")


def _fail(lease: Lease, code: str, text: str) -> None:
    try:
        lease.end(Document.State.FAILED, error_code=code[:20], error_text=text[:300])
    except LeaseLost:
        return
    _forget_points(lease.document)


def _ended(state: Document.State) -> dict:
    return {"state": state, "lease_owner": None, "lease_until": None, "moved_at": Now()}


def _forget_points(document: Document) -> None:
    """What is left over cannot be found, so it may also stay until the next attempt or the removal."""
    try:
        vectors.delete_document(document.pk)
    except VectorStoreDown:
        logger.warning("points were left over", extra={"document": str(document.pk)})
