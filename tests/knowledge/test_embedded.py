"""What a client may rely on. The same claims run against a real Qdrant, if TEST_QDRANT_URL names one."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest
from qdrant_client import AsyncQdrantClient, models

from tests.knowledge.points import SIZE, create_alias, make, numbers, only_kb, point, point_alias, refused
from tests.knowledge.vector_service import open_client

WRONG_INPUT = (400, 422)
pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


@pytest.fixture(scope="module")
def client(vector_store):
    client = open_client(*vector_store)
    yield client
    client.close()


@pytest.fixture
def name(client):
    """A collection of the shape that Atrium makes."""
    name = f"test_{uuid4().hex}"
    make(client, name)
    yield name
    client.delete_collection(name)


# --- collections and aliases


def test_a_collection_is_described_as_it_was_made(client, name):
    info = client.get_collection(name)
    assert info.config.params.vectors["dense"].size == SIZE
    assert info.config.params.sparse_vectors["sparse"].modifier == models.Modifier.IDF
    assert {field: index.data_type.value for field, index in info.payload_schema.items()} == {
        "kb": "keyword",
        "document": "keyword",
        "revision": "integer",
    }
    assert info.config.metadata == {"sparse_version": 1}
    assert info.points_count == 0
    assert name in {each.name for each in client.get_collections().collections}


def test_making_it_twice_is_a_conflict_and_dropping_it_twice_is_not(client):
    name = f"test_{uuid4().hex}"
    make(client, name)
    refused((400, 409), client.create_collection, name, vectors_config={})
    assert client.delete_collection(name)
    assert not client.delete_collection(name)
    assert not client.collection_exists(name)


def test_a_missing_collection_is_not_found(client):
    for call in (client.get_collection, client.count, client.scroll):
        refused(404, call, f"test_{uuid4().hex}")


def test_an_alias_stands_for_its_collection(client, name):
    alias = f"alias_{uuid4().hex}"
    point_alias(client, alias, name)
    client.upsert(alias, [point(1)])
    assert client.count(alias).count == client.count(name).count == 1
    assert client.collection_exists(alias)
    assert [each.alias_name for each in client.get_collection_aliases(name).aliases] == [alias]
    client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))])
    assert not client.collection_exists(alias)
    assert client.count(name).count == 1


def test_a_list_of_alias_actions_applies_whole_or_not_at_all(client, name):
    alias = f"alias_{uuid4().hex}"
    actions = [create_alias(alias, name), create_alias(f"{alias}_2", f"missing_{uuid4().hex}")]
    refused(404, client.update_collection_aliases, actions)
    assert not client.collection_exists(alias)


def test_an_alias_goes_with_its_collection(client):
    name, alias = f"test_{uuid4().hex}", f"alias_{uuid4().hex}"
    make(client, name)
    point_alias(client, alias, name)
    client.delete_collection(name)
    assert alias not in {each.alias_name for each in client.get_aliases().aliases}


def test_a_vector_can_be_added_to_a_collection_in_use(client, name):
    client.upsert(name, [point(1)])
    wanted = models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=2, distance=models.Distance.COSINE))
    client.create_vector_name(name, "dense_2", wanted)
    client.upsert(name, [models.PointStruct(id=2, vector={"dense_2": [0.6, 0.8]}, payload={"kb": "a"})])
    assert client.get_collection(name).config.params.vectors["dense_2"].size == 2
    found = client.query_points(name, query=[0.6, 0.8], using="dense_2").points
    assert [(each.id, round(each.score, 4)) for each in found] == [(2, 1.0)]


# --- points


def test_a_point_comes_back_as_it_was_stored(client, name):
    client.upsert(name, [point(1, terms=(5, 9), text="héllo", tags=["x", 1, None], deep={"a": [True]})])
    (record,) = client.retrieve(name, [str(UUID(int=1))], with_vectors=True)
    assert record.payload == {
        "kb": "a", "n": 1, "text": "héllo", "tags": ["x", 1, None], "deep": {"a": [True]}
    }  # fmt: skip
    assert record.vector["dense"] == [1.0, 0.0, 0.0, 0.0]
    assert record.vector["sparse"].indices == [5, 9]


def test_a_point_of_the_same_id_is_replaced_whole(client, name):
    client.upsert(name, [point(1, text="old")])
    client.upsert(name, [point(1, kb="b", dense=None)])
    (record,) = client.retrieve(name, [str(UUID(int=1))], with_vectors=True)
    assert record.payload == {"kb": "b", "n": 1}
    assert set(record.vector) == {"sparse"}


def test_points_may_come_as_columns(client, name):
    batch = models.Batch(
        ids=[1, 2],
        vectors={"dense": [[1.0, 0, 0, 0], [0, 1.0, 0, 0]]},
        payloads=[{"kb": "a"}, {"kb": "b"}],
    )
    client.upsert(name, batch)
    assert client.count(name, count_filter=only_kb("b")).count == 1


def test_points_are_deleted_by_id_and_by_filter(client, name):
    client.upsert(name, [point(n, document=f"d{n % 2}", revision=n) for n in range(1, 9)])
    client.delete(name, [str(UUID(int=1))])
    older = models.Filter(
        must=[
            models.FieldCondition(key="document", match=models.MatchValue(value="d0")),
            models.FieldCondition(key="revision", range=models.Range(lt=6)),
        ]
    )
    client.delete(name, models.FilterSelector(filter=older))
    assert numbers(client.scroll(name)[0]) == [3, 5, 6, 7, 8]


def test_payload_is_changed_replaced_and_cleared(client, name):
    client.upsert(name, [point(1, text="x"), point(2, text="y")])
    client.set_payload(name, {"title": "t"}, points=only_kb("a"))
    client.delete_payload(name, ["text"], points=[str(UUID(int=1))])
    client.overwrite_payload(name, {"kb": "b"}, points=[str(UUID(int=2))])
    first, second = client.retrieve(name, [str(UUID(int=1)), str(UUID(int=2))])
    assert first.payload == {"kb": "a", "n": 1, "title": "t"}
    assert second.payload == {"kb": "b"}
    client.clear_payload(name, [str(UUID(int=2))])
    assert client.retrieve(name, [str(UUID(int=2))])[0].payload == {}


def test_changes_sent_together_are_made_in_order(client, name):
    client.batch_update_points(
        name,
        [
            models.UpsertOperation(upsert=models.PointsList(points=[point(1), point(2)])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"kb": "b"}, filter=only_kb("a"))),
            models.DeleteOperation(delete=models.PointIdsList(points=[str(UUID(int=1))])),
        ],
    )
    assert [each.payload["kb"] for each in client.scroll(name)[0]] == ["b"]


def test_scrolling_sees_every_point_once(client, name):
    client.upsert(name, [point(n) for n in range(1, 26)])
    seen, offset = [], None
    while True:
        records, offset = client.scroll(name, limit=10, offset=offset, with_payload=["n"])
        seen += [record.payload["n"] for record in records]
        if offset is None:
            break
    assert sorted(seen) == list(range(1, 26))


def test_values_of_a_field_are_counted(client, name):
    client.upsert(name, [point(n, kb="ab"[n % 2]) for n in range(1, 6)])
    hits = client.facet(name, key="kb", exact=True).hits
    assert {hit.value: hit.count for hit in hits} == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        models.PointStruct(id=2, vector={"dense": [1.0]}),
        models.PointStruct(id=2, vector={"other": [1.0] * SIZE}),
        models.PointStruct(id=2, vector={"sparse": models.SparseVector(indices=[1, 1], values=[1.0, 1.0])}),
        models.PointStruct(id=2, vector={"sparse": models.SparseVector(indices=[1, 2], values=[1.0])}),
        models.PointStruct(id="not-an-id", vector={"dense": [1.0] * SIZE}),
    ],
    ids=["size", "name", "doubled index", "uneven", "id"],
)
def test_a_wrong_point_is_refused_with_its_whole_batch(client, name, wrong):
    refused(WRONG_INPUT, client.upsert, name, [point(1), wrong])
    assert client.count(name).count == 0


# --- searching


def test_dense_scores_are_cosines(client, name):
    client.upsert(name, [point(1), point(2, dense=(3.0, 4.0, 0, 0)), point(3, dense=None)])
    found = client.query_points(name, query=[1.0, 0, 0, 0], using="dense").points
    assert [(UUID(each.id).int, round(each.score, 4)) for each in found] == [(1, 1.0), (2, 0.6)]


def test_sparse_scores_count_rare_terms_more(client, name):
    client.upsert(name, [point(n, terms=(1,) if n > 1 else (1, 2)) for n in range(1, 11)])
    query = models.SparseVector(indices=[2], values=[1.0])
    (rare,) = client.query_points(name, query=query, using="sparse").points
    query = models.SparseVector(indices=[1], values=[1.0])
    common = client.query_points(name, query=query, using="sparse").points
    assert len(common) == 10
    assert rare.score > 10 * common[0].score


def test_a_batch_gives_both_exact_scores_of_all_candidates(client, name):
    client.upsert(
        name,
        [
            point(1, terms=(7,)),  # both
            point(2, terms=(8,)),  # dense alone
            point(3, dense=(0, 1.0, 0, 0), terms=(7,)),  # sparse alone
            point(4, kb="b", terms=(7,)),  # another knowledge base
        ],
    )
    sparse = models.SparseVector(indices=[7], values=[1.0])
    dense = [1.0, 0.0, 0.0, 0.0]
    prefetch = [
        models.Prefetch(query=dense, using="dense", filter=only_kb("a"), limit=2),
        models.Prefetch(query=sparse, using="sparse", filter=only_kb("a"), limit=2),
    ]
    by_dense, by_sparse = client.query_batch_points(
        name,
        [
            models.QueryRequest(prefetch=prefetch, query=dense, using="dense", limit=40, with_payload=True),
            models.QueryRequest(prefetch=prefetch, query=sparse, using="sparse", limit=40),
        ],
    )
    scores = {UUID(each.id).int: round(each.score, 4) for each in by_dense.points}
    assert scores == {1: 1.0, 2: 1.0, 3: 0.0}
    assert numbers(by_sparse.points) == [1, 3]
    assert all(each.payload["kb"] == "a" for each in by_dense.points)
    assert by_sparse.points[0].payload is None


def test_a_batch_answers_as_its_searches_would_one_by_one(client, name):
    shuffled = random.Random(7)
    client.upsert(
        name,
        [
            point(
                n,
                kb="ab"[n % 2],
                dense=[shuffled.gauss(0, 1) for _ in range(SIZE)] if n % 5 else None,
                terms=shuffled.sample(range(20), 4),
            )
            for n in range(1, 101)
        ],
    )
    dense, sparse = [1.0, 0.5, 0.1, 0.0], models.SparseVector(indices=[3, 7, 11], values=[1.0, 1.0, 1.0])
    prefetch = [
        models.Prefetch(query=dense, using="dense", filter=only_kb("a"), limit=8),
        models.Prefetch(query=sparse, using="sparse", filter=only_kb("a"), limit=8),
    ]
    nothing = [models.Prefetch(query=dense, using="dense", filter=only_kb("c"), limit=8)]
    later = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gt=30))])
    for shared in (prefetch, nothing):
        searches = [
            models.QueryRequest(prefetch=shared, query=dense, using="dense", limit=40),
            models.QueryRequest(prefetch=shared, query=sparse, using="sparse", limit=40, filter=later),
            models.QueryRequest(prefetch=shared, query=dense, using="dense", limit=3, offset=2),
        ]
        together = client.query_batch_points(name, searches)
        alone = [client.query_batch_points(name, [search])[0] for search in searches]
        assert [scores(each.points) for each in together] == [scores(each.points) for each in alone]
    assert not together[0].points


def scores(points) -> list[tuple]:
    return [(each.id, round(each.score, 5)) for each in points]


@pytest.mark.parametrize(
    "fusion",
    [
        models.FusionQuery(fusion=models.Fusion.RRF),
        models.FusionQuery(fusion=models.Fusion.DBSF),
        models.RrfQuery(rrf=models.Rrf(k=60)),
    ],
    ids=["rrf", "dbsf", "rrf with k"],
)
def test_ranks_of_two_searches_can_be_fused(client, name, fusion):
    client.upsert(name, [point(1), point(2, dense=(0.9, 0.1, 0, 0), terms=(2,))])
    prefetch = [
        models.Prefetch(query=[1.0, 0, 0, 0], using="dense", limit=5),
        models.Prefetch(query=models.SparseVector(indices=[1], values=[1.0]), using="sparse", limit=5),
    ]
    found = client.query_points(name, prefetch=prefetch, query=fusion).points
    assert UUID(found[0].id).int == 1


FILTERS = {
    "any": (only_kb("a", "b"), [1, 2, 3]),
    "none of any": (models.Filter(must=[models.FieldCondition(key="kb", match=models.MatchAny(any=[]))]), []),
    "except": (
        models.Filter(must=[models.FieldCondition(key="kb", match=models.MatchExcept(**{"except": ["a"]}))]),
        [3, 4],
    ),
    "must not": (
        models.Filter(must_not=[models.FieldCondition(key="kb", match=models.MatchValue(value="a"))]),
        [3, 4],
    ),
    "should": (
        models.Filter(
            should=[
                models.FieldCondition(key="n", range=models.Range(gte=4)),
                models.HasIdCondition(has_id=[str(UUID(int=1))]),
            ]
        ),
        [1, 4],
    ),
    "min should": (
        models.Filter(
            min_should=models.MinShould(
                conditions=[
                    models.FieldCondition(key="n", range=models.Range(gte=2)),
                    models.FieldCondition(key="kb", match=models.MatchValue(value="a")),
                ],
                min_count=2,
            )
        ),
        [2],
    ),
    "nested filters": (models.Filter(must=[only_kb("a"), models.Filter(must_not=[only_kb("b")])]), [1, 2]),
    "dates": (
        models.Filter(must=[models.FieldCondition(key="at", range=models.DatetimeRange(gte="2025-01-01T00:00:00Z"))]),
        [2],
    ),
    "empty": (models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="at"))]), [3, 4]),
    "null": (models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="gone"))]), [3]),
    "vector": (models.Filter(must_not=[models.HasVectorCondition(has_vector="dense")]), [4]),
}


@pytest.mark.parametrize("case", FILTERS)
def test_filters_choose(client, name, case):
    client.upsert(
        name,
        [
            point(1, at="2024-06-01T00:00:00Z"),
            point(2, at="2025-06-01T00:00:00Z"),
            point(3, kb="b", gone=None),
            point(4, kb="c", dense=None),
        ],
    )
    chosen, expected = FILTERS[case]
    assert numbers(client.scroll(name, scroll_filter=chosen)[0]) == expected
    assert client.count(name, count_filter=chosen).count == len(expected)


async def test_the_async_client_is_served_alike(vector_store, client, name):
    client.upsert(name, [point(n) for n in range(1, 6)])
    url, key = vector_store
    other = AsyncQdrantClient(url=url, api_key=key or None, check_compatibility=False)
    counts = await asyncio.gather(*(other.count(name) for _ in range(10)))
    assert {each.count for each in counts} == {5}
    await other.close()
