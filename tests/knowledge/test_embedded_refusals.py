"""The vector service refuses what it does not know, what is malformed, and who has no key."""

import httpx
import pytest

from tests.knowledge.points import SIZE
from tests.processes import NO_TLS


@pytest.fixture
def http(vector_service):
    options = {"headers": {"api-key": vector_service.api_key}, "trust_env": False, "verify": NO_TLS}
    with httpx.Client(base_url=vector_service.url, **options) as http:
        http.put("/collections/refusals", json={"vectors": {"dense": {"size": SIZE, "distance": "Cosine"}}})
        yield http
        http.delete("/collections/refusals")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "points/count", {"filtre": {}}),
        ("POST", "points/scroll", {"filter": {"musst": []}}),
        ("POST", "points/scroll", {"filter": {"must": [{"key": "kb", "matches": {"value": "a"}}]}}),
        ("POST", "points/scroll", {"filter": {"must": [{"key": "kb", "match": {"values": "a"}}]}}),
        ("POST", "points/scroll", {"filter": {"must": [{"key": "at", "geo_radius": {}}]}}),
        ("POST", "points/query", {"query": [1, 0, 0, 0], "using": "dense", "lookup_from": {"collection": "x"}}),
        ("POST", "points/query", {"query": {"recommend": {"positive": [1]}}}),
        ("POST", "points/query", {"query": 1, "using": "dense"}),
        ("POST", "points/query", {"prefetch": {"query": [1, 0, 0, 0], "shard_key": "x"}, "limit": 1}),
        ("POST", "points/delete", {"points": [1], "filter_": {}}),
        ("PUT", "points", {"points": [], "update_filter": {"must": []}}),
        ("POST", "points/search", {"vector": [1, 0, 0, 0], "limit": 1}),
        ("POST", "points/count?shard=1", {}),
        ("PUT", "snapshots", {}),
        ("PUT", "", {"vectors": {}, "quantization_config": {"scalar": {"type": "int8"}}}),
    ],
)
def test_what_it_does_not_know_it_refuses(http, method, path, body):
    answer = http.request(method, f"/collections/refusals/{path}".rstrip("/"), json=body)
    assert answer.status_code == 501
    assert "embedded vector service" in answer.json()["status"]["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("points/delete", {}),
        ("points/delete", {"points": [1], "filter": {}}),
        ("points/scroll", {"filter": {"must": [{}]}}),
        ("points/scroll", {"filter": {"must": [{"key": "kb"}]}}),
        ("points/scroll", {"filter": {"must": [{"key": "kb", "match": {}}]}}),
        ("points/scroll", {"filter": []}),
        ("points/scroll", {"limit": 0}),
        ("points/scroll", {"limit": "many"}),
        ("points/count", []),
        ("points/query", {"query": ["a", "b", "c", "d"], "using": "dense"}),
        ("points/query", {"query": [1e39, 0, 0, 0], "using": "dense"}),
        ("points/query", {"query": [1, 0, 0, 0], "using": "other"}),
        ("points", {"ids": ["x"]}),
    ],
)
def test_malformed_requests_are_refused(http, path, body):
    answer = http.post(f"/collections/refusals/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["status"]["error"]


def test_what_is_no_json_is_refused(http):
    assert http.post("/collections/refusals/points/count", content=b"{nope").status_code == 400
    deep = b'{"filter":' * 5000 + b"{}" + b"}" * 5000
    assert http.post("/collections/refusals/points/count", content=deep).status_code == 400
    deep = b'{"filter":{"must":' + b'{"must":' * 500 + b"{}" + b"}" * 502
    assert http.post("/collections/refusals/points/count", content=deep).status_code == 400
    assert http.get("/collections/refusals").status_code == 200


def test_a_request_too_large_hears_so(http):
    points = [{"id": n, "vector": {"dense": [1, 0, 0, 0]}} for n in range(501)]
    assert http.put("/collections/refusals/points", json={"points": points}).status_code == 413
    assert http.put("/collections/refusals/points", json={"points": points[1:]}).status_code == 200
    answer = http.put("/collections/refusals/points", content=b" " * (8 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert "bytes at most" in answer.json()["status"]["error"]


@pytest.mark.parametrize("headers", [{}, {"api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"api-key": ""}])
def test_without_the_key_it_says_nothing(vector_service, headers):
    answer = httpx.get(f"{vector_service.url}/collections", headers=headers, trust_env=False, verify=NO_TLS)
    assert answer.status_code == 401
    assert "result" not in answer.json()


def test_the_key_may_come_as_a_bearer_and_health_needs_none(vector_service):
    bearer, options = {"authorization": f"Bearer {vector_service.api_key}"}, {"trust_env": False, "verify": NO_TLS}
    assert httpx.get(f"{vector_service.url}/collections", headers=bearer, **options).status_code == 200
    for path in ("/", "/healthz", "/livez", "/readyz"):
        assert httpx.get(f"{vector_service.url}{path}", **options).status_code == 200


def test_a_client_that_checks_versions_is_content(vector_service, recwarn):
    vector_service.client(check_compatibility=True).get_collections()
    assert not [each for each in recwarn if "compatib" in str(each.message)]
