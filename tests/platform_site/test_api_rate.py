"""How often programs may call: counted for the tenant, over all its keys."""

import pytest
from django.test import Client

from tenants import store
from tenants.accounts import keys
from tenants.context import acting_for
from tests.conftest import host_of

PATH = "/api/v1/usage/"


@pytest.fixture
def caller(settings):
    """``caller(tenant)``: a program of the tenant, with a key of its own. Each tenant has three requests a minute."""
    settings.API_REQUESTS_PER_MINUTE = 3

    def make(tenant) -> Client:
        with acting_for(tenant):
            _, key = keys.create(name="test", scopes=["usage:read"], by="a test")
        return Client(headers={"host": host_of(tenant), "authorization": f"Bearer {key}"})

    return make


def test_h7_keys_of_a_tenant_share_its_requests_and_are_told_what_is_left(caller, acme, globex):
    one, two = caller(acme), caller(acme)
    answers = [program.get(PATH) for program in (one, two, one)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"requests";q=3;w=60'}
    assert [answer["RateLimit"].partition(";t=")[0] for answer in answers] == [f'"requests";r={n}' for n in (2, 1, 0)]
    refused = two.get(PATH)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(refused["Retry-After"]) <= 60 and refused["RateLimit"].startswith('"requests";r=0;')
    assert caller(globex).get(PATH).status_code == 200


@pytest.mark.parametrize("variant", ["HEAD", "OPTIONS", "POST"])
def test_h7_other_methods_count_as_well(caller, acme, variant):
    program = caller(acme)
    for _ in range(3):
        program.get(PATH)
    assert program.generic(variant, PATH).status_code in (403, 405, 429)
    assert program.get(PATH).status_code == 429


def test_h7_without_valkey_the_process_counts(caller, acme, settings, monkeypatch):
    program = caller(acme)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(store, "_sync", None)
    assert [program.get(PATH).status_code for _ in range(4)] == [200, 200, 200, 429]
