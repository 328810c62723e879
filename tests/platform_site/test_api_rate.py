"""How often programs may call, by the tenant's plan: over all its keys, and with each of them."""

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants import store
from tenants.accounts import keys
from tenants.context import acting_for
from tests.conftest import host_of
from tests.metering.planned import put_on_plan

PATH = "/api/v1/usage/"


@pytest.fixture
def caller():
    """``caller(tenant)``: a program of the tenant, with a key of its own."""

    def make(tenant) -> Client:
        with acting_for(tenant):
            _, key = keys.create(name="test", scopes=["usage:read"], by="a test")
        return Client(headers={"host": host_of(tenant), "authorization": f"Bearer {key}"})

    return make


@pytest.fixture
def slow(acme):
    """Three requests a minute for acme, and no limit for a key."""
    put_on_plan(acme, api_requests_per_minute=3, api_requests_per_minute_of_key=None)
    return acme


def statuses(program: Client, count: int) -> list[int]:
    return [program.get(PATH).status_code for _ in range(count)]


def test_h7_keys_of_a_tenant_share_its_requests_and_are_told_what_is_left(caller, slow, globex):
    one, two = caller(slow), caller(slow)
    answers = [program.get(PATH) for program in (one, two, one)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"requests";q=3;w=60'}
    assert [answer["RateLimit"].partition(";t=")[0] for answer in answers] == [f'"requests";r={n}' for n in (2, 1, 0)]
    refused = two.get(PATH)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.json()["limit"] == "requests" and "3 requests a minute" in refused.json()["text"]
    assert 1 <= int(refused["Retry-After"]) <= 60 and refused["RateLimit"].startswith('"requests";r=0;')
    assert caller(globex).get(PATH).status_code == 200


def test_h7_one_key_in_a_loop_leaves_room_for_the_others(caller, acme):
    put_on_plan(acme, api_requests_per_minute=5, api_requests_per_minute_of_key=2)
    loop, other = caller(acme), caller(acme)
    first = loop.get(PATH)
    assert first["RateLimit-Policy"] == '"requests";q=5;w=60, "key";q=2;w=60'
    assert [part.partition(";t=")[0] for part in first["RateLimit"].split(", ")] == ['"requests";r=4', '"key";r=1']
    assert statuses(loop, 4) == [200, 429, 429, 429]
    refused = loop.get(PATH)
    assert refused.json()["limit"] == "key" and "One key may send 2" in refused.json()["text"]
    assert statuses(other, 2) == [200, 200]  # what was refused was not counted for the tenant


def test_each_tenant_has_what_its_plan_says(caller, make_tenant):
    for plan, policy in [
        ("free", '"requests";q=60;w=60'),
        ("pro", '"requests";q=600;w=60, "key";q=300;w=60'),
        ("enterprise", '"requests";q=6000;w=60, "key";q=3000;w=60'),
    ]:
        assert caller(make_tenant(plan=plan)).get(PATH)["RateLimit-Policy"] == policy


def test_a_plan_without_a_number_has_what_the_installation_sets(caller, acme, settings):
    settings.API_REQUESTS_PER_MINUTE = 7
    put_on_plan(acme, api_requests_per_minute=None, api_requests_per_minute_of_key=None)
    assert caller(acme).get(PATH)["RateLimit-Policy"] == '"requests";q=7;w=60'


def test_the_limits_cost_a_request_no_statement(caller, acme):
    program = caller(acme)
    program.get(PATH)
    with CaptureQueriesContext(connections["default"]) as queries:
        program.get(PATH)
    assert not [query for query in queries if "metering_plan" in query["sql"]]


def test_h7_a_passer_by_does_not_use_up_the_programs_requests(caller, slow):
    nobody = Client(headers={"host": host_of(slow)})
    answers = [nobody.get("/api/v1/schema/").status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]
    assert caller(slow).get(PATH).status_code == 200


@pytest.mark.parametrize("variant", ["HEAD", "OPTIONS", "POST"])
def test_h7_other_methods_count_as_well(caller, slow, variant):
    program = caller(slow)
    for _ in range(3):
        program.get(PATH)
    assert program.generic(variant, PATH).status_code in (403, 405, 429)
    assert program.get(PATH).status_code == 429


def test_h7_without_valkey_the_process_counts(caller, slow, settings, monkeypatch):
    program = caller(slow)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(store, "_sync", None)
    assert statuses(program, 4) == [200, 200, 200, 429]


def test_the_schema_tells_programs_of_the_limits(acme):
    schema = Client(headers={"host": host_of(acme)}).get("/api/v1/schema/?format=json").json()
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert operations
    for operation in operations:
        assert "Retry-After" in operation["responses"]["429"]["headers"]
        assert all("RateLimit" in answer["headers"] for answer in operation["responses"].values())


def test_h7_without_valkey_one_key_in_a_loop_leaves_room_for_the_others(caller, acme, settings, monkeypatch):
    put_on_plan(acme, api_requests_per_minute=4, api_requests_per_minute_of_key=2)
    loop, other = caller(acme), caller(acme)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(store, "_sync", None)
    assert statuses(loop, 5) == [200, 200, 429, 429, 429]
    assert loop.get(PATH).json()["limit"] == "key"
    assert statuses(other, 3) == [200, 200, 429]
