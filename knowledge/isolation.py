"""What the isolation check tries with documents, passages and vectors. Canaries stand in the synthetic tenant alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from knowledge import bases, sparse, vectors
from knowledge.models import Document, Passage
from tenants.context import TenantRef, acting_for
from tenants.isolation.attempts import Try, Untried
from tenants.transactions import atomic

WORD = "isolation canary"


def tries(own: TenantRef, synthetic: TenantRef) -> list[Try]:
    """What ``own`` may not find of the synthetic tenant's documents."""
    return [
        Try("documents.read", "Documents and passages of the other tenant are asked for by their ids.",
            lambda: _read(own, synthetic)),
        Try("vectors.search", "The tenant's search is asked for words and ids that only the other's collection has.",
            lambda: _search(own, synthetic)),
        Try("vectors.delete", "The tenant deletes points of a document of the other tenant.",
            lambda: _delete(own, synthetic)),
    ]  # fmt: skip


def _read(own: TenantRef, synthetic: TenantRef) -> list[str]:
    with acting_for(synthetic), atomic():
        document = Document.objects.create(
            base=bases.ensure_default(), title=WORD, file_name=f"{WORD}.txt", bytes=0, state="failed", added_by=WORD
        )
        Passage.objects.create(document=document, revision=1, n=1, text=WORD, char_start=0, char_end=len(WORD))
    try:
        with acting_for(own):
            found = {
                "the document was read": Document.objects.filter(pk=document.pk).exists(),
                "its passage was read": Passage.objects.filter(document_id=document.pk).exists(),
            }
    finally:
        with acting_for(synthetic), atomic():
            Document.objects.filter(pk=document.pk).delete()
    return [words for words, leaked in found.items() if leaked]


def _search(own: TenantRef, synthetic: TenantRef) -> list[str]:
    with _point(synthetic) as (base, document), acting_for(own):
        found = {"the point was found by a search": _finds(base), "it was counted": vectors.count(document=document)}
    return [words for words, leaked in found.items() if leaked]


def _delete(own: TenantRef, synthetic: TenantRef) -> list[str]:
    with _point(synthetic) as (_, document):
        with acting_for(own):
            vectors.delete_document(document)
        with acting_for(synthetic):
            kept = vectors.count(document=document)
    return [] if kept else ["the point was deleted"]


@contextmanager
def _point(synthetic: TenantRef) -> Iterator[tuple[UUID, UUID]]:
    """A point in the synthetic tenant's collection, which that tenant finds; its knowledge base and document."""
    base, document = uuid4(), uuid4()
    point = vectors.Point(
        id=uuid4(), kb=base, document=document, revision=1, dense=None, sparse=sparse.document_vector(WORD, "en")
    )
    with acting_for(synthetic):
        vectors.ensure_collection(dense_size=None)
        try:
            vectors.upsert([point])
            if not _finds(base):
                raise Untried("the other tenant did not find its own point")
        except BaseException:
            vectors.delete_document(document)
            raise
    try:
        yield base, document
    finally:
        with acting_for(synthetic):
            vectors.delete_document(document)


def _finds(base: UUID) -> bool:
    return bool(vectors.search(kbs=[base], dense=None, sparse=sparse.query_vector(WORD, "en"), terms=2))
