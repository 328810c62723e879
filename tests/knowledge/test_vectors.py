"""The tenant's vector collection: what is found, what is not, and that no tenant ever sees another's."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from uuid import UUID, uuid4, uuid5

import pytest
from qdrant_client.http.exceptions import UnexpectedResponse

from knowledge import sparse, vectors
from knowledge.errors import VectorStoreDown
from knowledge.vectors import connection
from tenants.context import TenantRef, acting_for, run_for
from tenants.errors import NoTenantContext
from tests.knowledge.vector_service import open_client
from tests.processes import free_port

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

_tenants = count(int(time.time() * 1000))  # never used before in a store that outlives the test


def tenant(name: str) -> TenantRef:
    number = next(_tenants)
    return TenantRef(number, name, name, f"t_{number}", f"role_{number}", "shared_1_v1")


@pytest.fixture(autouse=True)
def _store(vector_store, settings):
    settings.QDRANT_URL, settings.QDRANT_API_KEY = vector_store


@pytest.fixture
def acme(vector_store, settings):
    """The test's own tenant, acted for."""
    with acting_for(tenant("acme")) as ref:
        yield ref
        settings.QDRANT_URL, settings.QDRANT_API_KEY = vector_store
        vectors.drop()


@pytest.fixture
def globex():
    """The stranger: `elsewhere(globex, ...)`."""
    ref = tenant("globex")
    yield ref
    elsewhere(ref, vectors.drop)


@pytest.fixture
def store_away(settings):
    """Nobody listens where the store should be."""
    settings.QDRANT_URL = f"http://127.0.0.1:{free_port()}"


def elsewhere(ref: TenantRef, call, *args, **kwargs):
    """The call's result, for another tenant: in a thread of its own, which has no context of ours."""

    def work():
        with acting_for(ref):
            return call(*args, **kwargs)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


KB, OTHER_KB = uuid4(), uuid4()
DOCUMENT = uuid4()
EAST, NORTH = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def passage(text: str, *, dense=None, kb=KB, document=DOCUMENT, revision=1, **payload) -> vectors.Point:
    id_ = uuid5(document, f"{revision}:{text}")
    keywords = sparse.document_vector(text, "en")
    return vectors.Point(id_, kb, document, revision, dense, keywords, {"text": text, "page": 1} | payload)


def ingest(*points: vectors.Point, dense_size: int | None = None) -> None:
    vectors.ensure_collection(dense_size=dense_size)
    vectors.upsert(list(points))


def ask(question: str, *, dense=None, kbs=(KB,), **options) -> list[vectors.Hit]:
    query = sparse.query_vector(question, "en")
    return vectors.search(kbs=list(kbs), dense=dense, sparse=query, terms=len(query[0]), **options)


def texts(hits: list[vectors.Hit]) -> list[str]:
    return [hit.payload["text"] for hit in hits]


# --- finding


def test_keywords_alone_find_the_passage(acme):
    ingest(passage("Opening hours: 9 to 5"), passage("Parking is free"))
    (hit,) = ask("When are your opening hours?")
    assert hit.payload == {"text": "Opening hours: 9 to 5", "page": 1}
    assert (hit.kb, hit.document, hit.revision) == (KB, DOCUMENT, 1)
    assert hit.cosine is None
    assert hit.bm25 > 0
    assert hit.score == hit.coverage <= 1


def test_the_score_is_cosine_plus_share_of_keywords(acme):
    ingest(
        passage("opening hours", dense=EAST),
        passage("opening ceremony", dense=[0.6, 0.8, 0.0]),
        passage("parking", dense=NORTH),
        dense_size=3,
    )
    hits = ask("opening hours", dense=EAST)
    assert texts(hits) == ["opening hours", "opening ceremony", "parking"]
    assert [round(hit.cosine, 4) for hit in hits] == [1.0, 0.6, 0.0]
    assert hits[0].coverage > hits[1].coverage > hits[2].coverage == hits[2].bm25 == 0
    assert all(hit.score == pytest.approx(hit.cosine + hit.coverage) for hit in hits)


def test_meaning_finds_what_keywords_do_not_and_the_other_way_round(acme):
    ingest(passage("physician", dense=EAST), passage("order AB-1234", dense=NORTH), dense_size=3)
    assert texts(ask("doctor", dense=EAST))[0] == "physician"
    assert texts(ask("AB-1234", dense=[0.0, 0.0, 1.0]))[0] == "order AB-1234"
    assert texts(ask("the", dense=EAST))[0] == "physician"  # no keywords left


def test_only_the_given_knowledge_bases_are_searched(acme):
    ingest(
        passage("opening hours", dense=EAST),
        passage("opening hours of the other", dense=EAST, kb=OTHER_KB),
        dense_size=3,
    )
    assert texts(ask("opening hours", dense=EAST)) == ["opening hours"]
    assert texts(ask("opening hours", kbs=[OTHER_KB])) == ["opening hours of the other"]
    assert len(ask("opening hours", dense=EAST, kbs=[KB, OTHER_KB])) == 2
    assert ask("opening hours", dense=EAST, kbs=[uuid4()]) == []


def test_many_strangers_passages_do_not_push_out_the_one(acme):
    strangers = [passage(f"opening hours {n}", dense=EAST, kb=OTHER_KB) for n in range(100)]
    ingest(*strangers, passage("opening hours", dense=[0.9, 0.1, 0.0]), dense_size=3)
    assert texts(ask("opening hours", dense=EAST)) == ["opening hours"]


def test_at_most_limit_hits_come_back(acme):
    ingest(*(passage(f"opening {n}", dense=[1.0, n / 100, 0.0]) for n in range(50)), dense_size=3)
    assert len(ask("opening", dense=EAST)) == 8
    assert len(ask("opening", limit=3)) == 3
    assert len(ask("opening", dense=EAST, limit=45)) == 45


def test_without_a_knowledge_base_the_store_is_not_even_asked(acme, store_away):
    assert ask("opening hours", kbs=[]) == []
    with pytest.raises(VectorStoreDown):
        ask("opening hours")


def test_a_tenant_without_documents_finds_nothing(acme):
    assert ask("opening hours", dense=EAST) == []
    assert vectors.count() == 0
    vectors.delete_document(DOCUMENT)
    assert vectors.drop() == 0


def test_a_search_is_one_round_trip(acme, monkeypatch):
    ingest(passage("opening hours", dense=EAST), passage("parking", dense=NORTH), dense_size=3)
    ask("opening hours", dense=EAST)
    store, others = connection.connection(), []
    store.client.http.client.add_middleware(lambda request, call: others.append(request.url) or call(request))
    before = store.pool.num_requests
    ask("opening hours", dense=EAST)
    assert (store.pool.num_requests - before, others) == (1, [])


# --- a model comes later, or changes


def test_a_dense_question_to_a_collection_without_dense_vectors_goes_by_keywords(acme):
    ingest(passage("opening hours"))
    (hit,) = ask("opening hours", dense=EAST)
    assert hit.cosine is None
    assert hit.bm25 > 0


def test_documents_from_before_the_model_are_still_found_with_their_text(acme):
    ingest(passage("opening hours of old"))
    ingest(passage("new opening times", dense=EAST), dense_size=3)
    hits = ask("opening hours of old", dense=EAST)
    assert set(texts(hits)) == {"opening hours of old", "new opening times"}
    assert {hit.payload["text"]: hit.cosine for hit in hits}["opening hours of old"] is None


def test_another_size_stands_beside_the_first(acme):
    ingest(passage("opening hours", dense=EAST), dense_size=3)
    ingest(passage("parking", dense=[1.0, 0.0]), dense_size=2)
    assert ask("nothing", dense=[1.0, 0.0])[0].payload["text"] == "parking"
    assert ask("nothing", dense=EAST)[0].payload["text"] == "opening hours"


def test_many_workers_may_make_the_collection_at_once(acme):
    def work(n: int) -> None:
        with acting_for(acme):
            ingest(passage(f"opening {n}", dense=EAST), dense_size=3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert vectors.count() == 16
    assert vectors.drop() == 1


# --- revisions, counting, deleting


def test_writing_twice_changes_nothing(acme):
    points = [passage(f"opening {n}") for n in range(3)]
    ingest(*points)
    ingest(*points)
    assert vectors.count() == 3


def test_a_new_revision_replaces_the_old(acme):
    other = uuid4()
    ingest(passage("old hours"), passage("old hours too"), passage("hours elsewhere", document=other))
    ingest(passage("new hours", revision=2))
    vectors.delete_document(DOCUMENT, below_revision=2)
    assert set(texts(ask("hours"))) == {"new hours", "hours elsewhere"}
    vectors.delete_document(DOCUMENT)
    assert texts(ask("hours")) == ["hours elsewhere"]


def test_points_are_counted_by_base_and_document(acme):
    other = uuid4()
    ingest(passage("a"), passage("b", document=other), passage("c", kb=OTHER_KB, document=other))
    assert vectors.count() == 3
    assert vectors.count(kb=KB) == 2
    assert vectors.count(document=other) == 2
    assert vectors.count(kb=KB, document=other) == 1


def test_more_points_than_fit_one_request(acme):
    wide = [0.1234567890123] * 3072
    ingest(*(passage(f"opening {n}", dense=wide) for n in range(150)), dense_size=3072)
    ingest(*(passage(f"parking {n}") for n in range(650)))
    assert vectors.count() == 800


def test_what_was_learned_of_a_collection_is_forgotten_when_it_changes(acme):
    ingest(passage("opening hours"))
    assert ask("opening hours")
    vectors.drop()
    assert ask("opening hours") == []
    ingest(passage("opening hours", dense=EAST), dense_size=3)
    assert ask("opening hours", dense=EAST)[0].cosine == pytest.approx(1)


def test_the_callers_payload_cannot_move_a_point(acme):
    point = passage("stray")
    point.payload.update(kb=str(OTHER_KB), document=str(uuid4()), revision=99)
    ingest(point)
    assert ask("stray", kbs=[OTHER_KB]) == []
    assert ask("stray")[0].revision == 1


# --- tenants


def test_identical_vectors_of_two_tenants_stay_apart(acme, globex):
    ingest(passage("canary-acme-1 hours", dense=EAST), dense_size=3)
    elsewhere(globex, ingest, passage("canary-globex-1 hours", dense=EAST), dense_size=3)
    theirs = elsewhere(globex, ask, "hours canary", dense=EAST, limit=50)
    assert texts(theirs) == ["canary-globex-1 hours"]
    assert texts(ask("hours canary", dense=EAST, limit=50)) == ["canary-acme-1 hours"]
    assert elsewhere(globex, vectors.count, KB) == vectors.count(KB) == 1


def test_deleting_and_dropping_touch_one_tenant_alone(acme, globex):
    ingest(passage("hours"))
    elsewhere(globex, ingest, passage("hours"))
    elsewhere(globex, vectors.delete_document, DOCUMENT)
    assert vectors.count() == 1
    assert elsewhere(globex, vectors.drop) == 1
    assert vectors.count() == 1


def test_dropping_tenant_1_leaves_tenant_11():
    one = tenant("one")
    eleven = replace(one, id=int(f"{one.id}1"))
    for ref in (one, eleven):
        elsewhere(ref, ingest, passage("hours"))
    assert elsewhere(one, vectors.drop) == 1
    assert elsewhere(eleven, vectors.count) == 1
    assert elsewhere(eleven, vectors.drop) == 1


async def test_threads_of_async_callers_keep_their_tenants(vector_store):
    refs = [tenant(f"t{n}") for n in range(4)]
    for ref in refs:
        await run_for(ref, ingest, passage(f"hours of {ref.id}"))
    for ref in refs * 10:
        assert texts(await run_for(ref, ask, "hours")) == [f"hours of {ref.id}"]
        assert await run_for(ref, vectors.count) == 1
    for ref in refs:
        assert await run_for(ref, vectors.drop) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: vectors.ensure_collection(dense_size=None),
        lambda: vectors.upsert([]),
        lambda: vectors.upsert([passage("x")]),
        lambda: vectors.delete_document(DOCUMENT),
        lambda: vectors.count(),
        lambda: ask("x", kbs=[]),
        lambda: ask("x"),
        lambda: vectors.drop(),
    ],
)
def test_without_a_tenant_nothing_is_done(call):
    with pytest.raises(NoTenantContext):
        call()


def test_collections_are_named_after_the_tenants_id(acme, vector_store):
    ingest(passage("hours"))
    client = open_client(*vector_store)
    mine = [alias for alias in client.get_aliases().aliases if alias.alias_name == f"t_{acme.id}"]
    assert [alias.collection_name for alias in mine] == [f"t_{acme.id}_1"]


# --- a store that does not answer


def test_ping_measures_the_store_without_a_tenant(settings):
    assert 0 < vectors.ping() < 5
    settings.QDRANT_API_KEY = "wrong"
    with pytest.raises(VectorStoreDown):
        vectors.ping()


def test_a_store_that_is_away_is_a_temporary_failure(acme, store_away):
    started = time.monotonic()
    for call in (vectors.ping, vectors.count, lambda: ask("hours")):
        with pytest.raises(VectorStoreDown) as caught:
            call()
        assert caught.value.as_dict()["retry_after"] > 0
    assert time.monotonic() - started < 2


def test_a_write_outlasts_a_restart_of_the_store(fresh_service, settings):
    settings.QDRANT_URL, settings.QDRANT_API_KEY = fresh_service.url, fresh_service.api_key
    ref = tenant("acme")
    elsewhere(ref, ingest, passage("hours"))
    fresh_service.kill()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(elsewhere, ref, vectors.upsert, [passage("more hours")])
        fresh_service.start()
        writing.result()
    assert len(elsewhere(ref, ask, "hours")) == 2


def test_a_dropped_collection_is_reported_and_can_be_made_again(acme):
    ingest(passage("hours"))
    vectors.drop()
    with pytest.raises(VectorStoreDown):
        vectors.upsert([passage("hours")])
    ingest(passage("hours"))
    assert vectors.count() == 1


def test_our_own_mistakes_are_not_called_temporary(acme):
    vectors.ensure_collection(dense_size=None)
    with pytest.raises(UnexpectedResponse):
        vectors.upsert([passage("hours", dense=EAST)])


def test_a_fork_gets_a_client_of_its_own(acme):
    ingest(passage("hours"))
    reader, writer = os.pipe()
    before = connection.connection()
    child = os.fork()
    if child == 0:
        answer = b"0"
        try:
            answer = b"1" if connection.connection() is not before and vectors.count() == 1 else b"0"
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"1"
    assert vectors.count() == 1
    assert connection.connection() is before


def test_ids_come_back_as_uuids(acme):
    point = passage("hours")
    ingest(point)
    (hit,) = ask("hours")
    assert hit.id == point.id
    assert isinstance(hit.id, UUID)
