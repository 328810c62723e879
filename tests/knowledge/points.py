"""Collections and points as the tests of the vector store make them."""

from uuid import UUID

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

SIZE = 4


def make(client: QdrantClient, name: str) -> None:
    client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=SIZE, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        metadata={"sparse_version": 1},
    )
    for field, kind in (("kb", "keyword"), ("document", "keyword"), ("revision", "integer")):
        client.create_payload_index(name, field, kind)


def point(n: int, *, kb: str = "a", dense=(1.0, 0.0, 0.0, 0.0), terms=(1,), **payload) -> models.PointStruct:
    vector = {"dense": list(dense)} if dense else {}
    if terms:
        vector["sparse"] = models.SparseVector(indices=list(terms), values=[1.0] * len(terms))
    return models.PointStruct(id=str(UUID(int=n)), vector=vector, payload={"kb": kb, "n": n} | payload)


def only_kb(*kbs: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="kb", match=models.MatchAny(any=list(kbs)))])


def numbers(points) -> list[int]:
    return sorted(UUID(each.id).int for each in points)


def refused(status, call, *args, **kwargs) -> str:
    with pytest.raises(UnexpectedResponse) as caught:
        call(*args, **kwargs)
    assert caught.value.status_code in (status if isinstance(status, tuple) else (status,))
    return caught.value.content.decode()


def create_alias(alias: str, name: str) -> models.CreateAliasOperation:
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))


def point_alias(client: QdrantClient, alias: str, name: str) -> None:
    client.update_collection_aliases([create_alias(alias, name)])
