"""What can be done with a tenant's documents: add, read again, remove, list."""

import hashlib
import logging
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import DatabaseError
from django.db.models import F, Q
from django.db.models.functions import Now

from knowledge import bases, parsing, storage, tokens, vectors
from knowledge.errors import StorageFull, UploadTooLarge
from knowledge.models import REMOVING, Document, KnowledgeBase, Passage
from platform_site.errors import NotFound
from tenants.ids import uuid7
from tenants.models import AuditEvent
from tenants.transactions import after_commit, atomic

logger = logging.getLogger(__name__)

PAGE_SIZE = 30
HALF_REMOVED = "Removing this document was interrupted. Remove it again to finish."


def add(*, file: File, name: str, by: str, base: KnowledgeBase | None = None) -> Document:
    """Take a file in; it is read by the worker. One that cannot be used becomes a row in state failed that says why.

    name  as the uploader's computer gave it; not trusted
    by    who adds it, to be shown
    base  the default one unless given
    Raises  StorageFull, TemporaryFailure  nothing was taken in
    """
    document = Document(id=uuid7(), base=base or bases.ensure_default(), added_by=by[:254], bytes=file.size)
    document.file_name = parsing.safe_name(name)
    document.title = document.title_by_name
    try:
        document.kind = _checked_kind(file, document.file_name)
    except (parsing.Unreadable, UploadTooLarge) as error:
        document.state, document.error_code, document.error_text = Document.State.FAILED, error.code, str(error)
        document.save(force_insert=True)
        return document
    storage.check(file.size)  # before the file is stored for nothing
    tokens.mark()
    document.digest = _digest(file)
    document.path = f"documents/{document.pk}"
    default_storage.save(document.path, file)
    try:
        with atomic():
            storage.one_at_a_time()
            storage.check(file.size)
            document.save(force_insert=True)
    except (DatabaseError, StorageFull):
        default_storage.delete(document.path)
        raise
    after_commit(tokens.issue)  # beyond the block: what fails from here on leaves a document, which needs its file
    return document


def retry(document_id: UUID) -> Document:
    """Read a failed document again. One that is not failed stays as it is: two clicks do what one does.

    Raises  NotFound, TemporaryFailure
    """
    tokens.mark()
    with atomic():
        changed = Document.objects.can_retry().filter(pk=document_id).update(
            state=Document.State.QUEUED, revision=F("revision") + 1, attempts=0, done=0, total=0,
            error_code="", error_text="", lease_owner=None, lease_until=None, moved_at=Now(),
        )  # fmt: skip
        if changed:
            after_commit(tokens.issue)
    return get(document_id)


def remove(document_id: UUID, by: str) -> None:
    """Delete a document: what can be found of it, its file, its passages and its row.

    Killed or refused midway, the row stays and says so; removing it again finishes.
    Raises  NotFound; VectorStoreDown  it cannot be found any more, but must be removed again
    """
    document = get(document_id)
    Document.objects.filter(pk=document.pk).update(  # who works on it has lost it
        state=Document.State.FAILED, error_code=REMOVING, error_text=HALF_REMOVED, lease_owner=None, lease_until=None,
    )  # fmt: skip
    vectors.delete_document(document.pk)
    if document.path:
        default_storage.delete(document.path)
    with atomic():
        Passage.objects.filter(document=document).delete()
        Document.objects.filter(pk=document.pk).delete()
    details = {"document": str(document.pk), "bytes": document.bytes}
    AuditEvent.objects.create(actor=by, action="document.removed", details=details)


def get(document_id: UUID) -> Document:
    """One document. Raises NotFound: not there, or another tenant's."""
    document = Document.objects.filter(pk=document_id).select_related("base").first()
    if document is None:
        raise NotFound
    return document


def newest(limit: int = PAGE_SIZE, *, search: str = "", before: UUID | None = None) -> list[Document]:
    """Documents, the newest first.

    search  words that all stand in the title or file name
    before  the last id of the page before
    """
    found = Document.objects.select_related("base").order_by("-id")
    for word in search.split()[:8]:
        found = found.filter(Q(title__icontains=word) | Q(file_name__icontains=word))
    if before:
        found = found.filter(pk__lt=before)
    return list(found[:limit])


def some(ids: list[UUID]) -> list[Document]:
    """Those of these documents that are there, the newest first."""
    return list(Document.objects.filter(pk__in=ids).order_by("-id"))


def any_unfinished() -> bool:
    """Whether a document is still on its way."""
    return Document.objects.unfinished().exists()


def passages(document: Document, *, limit: int = PAGE_SIZE, after: int = -1) -> list[Passage]:
    """The passages of a document that can be found, in order; after: the last number of the page before."""
    if document.state != Document.State.READY:
        return []
    found = Passage.objects.filter(document=document, revision=document.revision, n__gt=after)
    return list(found.order_by("n")[:limit])


def _checked_kind(file: File, name: str) -> str:
    """Raises Unreadable, UploadTooLarge."""
    if file.size > settings.UPLOAD_BYTES:
        megabytes = settings.UPLOAD_BYTES // 1024**2
        raise UploadTooLarge(f"This file is larger than {megabytes} MB. Split it into smaller files and upload those.")
    file.seek(0)
    kind = parsing.detect(file.read(parsing.HEAD_BYTES), name)
    file.seek(0)
    return kind


def _digest(file: File) -> str:
    digest = hashlib.sha256()
    for part in file.chunks():
        digest.update(part)
    file.seek(0)
    return digest.hexdigest()
