"""The tenant's collection: made, described, deleted."""

import re
import time
from dataclasses import dataclass

from qdrant_client import models
from qdrant_client.http.exceptions import UnexpectedResponse

from knowledge.sparse import VERSION
from knowledge.vectors.connection import connection, fetch, read, unless_missing, write
from tenants import keys

FACTS_SECONDS = 10.0

_INDEXES = {"kb": "keyword", "document": "keyword", "revision": "integer"}


@dataclass(frozen=True)
class Facts:
    """What a search needs to know of a collection; may be FACTS_SECONDS old."""

    points: int
    dense: frozenset[str]


def ensure_collection(*, dense_size: int | None) -> None:
    """Make the tenant's collection ready for points with dense vectors of this size (None: keywords only).

    Adds what is missing and takes nothing away; safe to call by many at once.
    """
    alias = keys.collection_alias()
    facts = _look(alias)
    if facts is None:
        _create(alias, dense_size)
        facts = _look(alias)
    if dense_size and (facts is None or dense_name(dense_size) not in facts.dense):
        _add_dense(alias, dense_size)
    forget_facts(alias)


def drop() -> int:
    """Delete all that the store holds of the tenant: every generation and the alias. How many there were."""
    alias = keys.collection_alias()
    forget = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    unless_missing(write, lambda client: client.update_collection_aliases([forget]))
    names = [each.name for each in read(lambda client: client.get_collections()).collections]
    mine = [name for name in names if re.fullmatch(rf"{re.escape(alias)}_\d+", name)]
    for name in mine:
        write(lambda client, name=name: client.delete_collection(name))
    forget_facts(alias)
    return len(mine)


def _create(alias: str, dense_size: int | None) -> None:
    """Collection, indexes, and last the alias: where it exists, all is there."""
    generation = f"{alias}_1"
    dense = {dense_name(dense_size): _dense_params(dense_size)} if dense_size else {}
    keywords = models.SparseVectorParams(modifier=models.Modifier.IDF)
    try:
        write(
            lambda client: client.create_collection(
                generation,
                vectors_config=dense,
                sparse_vectors_config={"sparse": keywords},
                metadata={"sparse_version": VERSION},
            )
        )
    except UnexpectedResponse:
        if not read(lambda client: client.collection_exists(generation)):  # else another worker was faster
            raise
    for index in _INDEXES.items():
        write(lambda client, index=index: client.create_payload_index(generation, *index))
    name = models.CreateAlias(collection_name=generation, alias_name=alias)
    operation = models.CreateAliasOperation(create_alias=name)
    write(lambda client: client.update_collection_aliases([operation]))


def _add_dense(alias: str, size: int) -> None:
    config = models.DenseVectorConfig(size=size, distance=models.Distance.COSINE)
    wanted = models.DenseVectorNameConfig(dense=config)
    name = dense_name(size)
    try:
        write(lambda client: client.create_vector_name(alias, name, wanted, wait=True))
    except UnexpectedResponse:
        facts = _look(alias)
        if facts is None or name not in facts.dense:  # else another worker was faster
            raise


def dense_name(size: int) -> str:
    """The dense vector of this size, as the collection calls it."""
    return f"dense_{size}"


def _dense_params(size: int) -> models.VectorParams:
    return models.VectorParams(size=size, distance=models.Distance.COSINE)


def facts_of(alias: str) -> Facts | None:
    """Asked for every FACTS_SECONDS, not with every search. None: the tenant has no collection yet."""
    known = connection().facts
    until, facts = known.get(alias, (0.0, None))
    if until < time.monotonic():
        facts = _look(alias)
        if facts:  # a missing one may be made by a worker any moment
            known[alias] = time.monotonic() + FACTS_SECONDS, facts
    return facts


def forget_facts(alias: str) -> None:
    """Look again with the next search: this process changed the collection."""
    connection().facts.pop(alias, None)


def _look(alias: str) -> Facts | None:
    answer = fetch(alias)
    if answer is None:
        return None
    info = answer["result"]
    return Facts(info.get("points_count") or 0, frozenset(info["config"]["params"].get("vectors") or ()))
