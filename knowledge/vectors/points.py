"""Points in and out of the tenant's collection."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from qdrant_client import models
from qdrant_client.http.exceptions import UnexpectedResponse

from knowledge.errors import VectorStoreDown
from knowledge.sparse import Sparse
from knowledge.vectors.collection import dense_name, forget_facts
from knowledge.vectors.connection import RETRY_AFTER_SECONDS, read, unless_missing, write
from tenants import keys

BATCH = 200  # points in one request
BATCH_NUMBERS = 200_000  # and numbers in their dense vectors: about 4 MB of JSON


@dataclass(frozen=True)
class Point:
    """One passage to be found.

    id        deterministic, so that writing it twice changes nothing
    revision  of the document; a higher one replaces the lower
    dense     of the configured embedding model, or None
    sparse    of `sparse.document_vector`
    payload   JSON-ready, comes back with the hit; ingest gives none, for texts stay in the tenant's tables
    """

    id: UUID
    kb: UUID
    document: UUID
    revision: int
    dense: list[float] | None
    sparse: Sparse
    payload: dict = field(default_factory=dict)


def upsert(points: list[Point]) -> None:
    """Store the points and wait until they can be found. A point of the same id is replaced.

    Raises  VectorStoreDown  some may be stored; the whole call may be repeated
    """
    alias = keys.collection_alias()
    for batch in _batches(points):
        stored = [_to_store(point) for point in batch]
        try:
            write(lambda client, stored=stored: client.upsert(alias, stored, wait=True))
        except UnexpectedResponse as error:
            if error.status_code == 404:  # dropped after ensure_collection; which a retry calls first
                raise VectorStoreDown(retry_after=RETRY_AFTER_SECONDS) from error
            raise
    forget_facts(alias)


def delete_document(document: UUID, *, below_revision: int | None = None) -> None:
    """Take a document's points out; only those of older revisions, if one is given."""
    alias = keys.collection_alias()
    chosen = matching(document=document)
    if below_revision is not None:
        older = models.Range(lt=below_revision)
        chosen.must.append(models.FieldCondition(key="revision", range=older))
    selector = models.FilterSelector(filter=chosen)
    unless_missing(write, lambda client: client.delete(alias, selector, wait=True))
    forget_facts(alias)


def count(kb: UUID | None = None, document: UUID | None = None) -> int:
    """How many points the tenant has: in all, of one knowledge base, of one document."""
    alias, chosen = keys.collection_alias(), matching(kb=kb, document=document)
    answer = unless_missing(read, lambda client: client.count(alias, chosen, exact=True))
    return answer.count if answer else 0


def matching(kb: UUID | None = None, document: UUID | None = None) -> models.Filter:
    """Points of one knowledge base, of one document."""
    must = []
    for key, wanted in (("kb", kb), ("document", document)):
        if wanted is not None:
            must.append(models.FieldCondition(key=key, match=models.MatchValue(value=str(wanted))))
    return models.Filter(must=must)


def _batches(points: list[Point]) -> Iterator[list[Point]]:
    widest = max((len(point.dense) for point in points if point.dense), default=1)
    size = max(1, min(BATCH, BATCH_NUMBERS // widest))
    for start in range(0, len(points), size):
        yield points[start : start + size]


def _to_store(point: Point) -> models.PointStruct:
    vector = {}
    if point.dense:
        vector[dense_name(len(point.dense))] = point.dense
    if point.sparse[0]:
        vector["sparse"] = models.SparseVector(indices=point.sparse[0], values=point.sparse[1])
    ours = {"kb": str(point.kb), "document": str(point.document), "revision": point.revision}
    return models.PointStruct(id=str(point.id), vector=vector, payload=point.payload | ours)
