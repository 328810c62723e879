"""The front's question which certificates it may get: a quick answer, for nobody else, and no way to list hosts."""

from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from platform_site import env
from tenants import certificates, domains, lifecycle
from tenants.context import acting_for_platform
from tenants.models import DomainClaim, Tenant
from tenants.proofs import Finding, Outcome
from tests.conftest import host_of

PATH = "/tls/may-issue"
FRONT = {"REMOTE_ADDR": "127.0.0.1", "headers": {"host": "127.0.0.1:8000"}}


@pytest.fixture(autouse=True)
def _fresh():
    """Each test's process remembers nothing."""
    certificates.forget()


def ask(host: str, **changes) -> int:
    return Client().get(PATH, {"domain": host}, **(FRONT | changes)).status_code


def proved(ref) -> DomainClaim:
    with acting_for_platform("a test"):
        tenant = Tenant.objects.get(pk=ref.id)
    made = domains.claim(tenant, f"chat-{uuid4().hex[:10]}.example.com", by="a test")
    return domains.conclude(made, Finding(Outcome.PROVED))


def test_f8_a_certificate_is_for_our_hosts_and_proved_domains_only(acme, globex):
    held = proved(acme)
    with acting_for_platform("a test"):
        waiting = domains.claim(Tenant.objects.get(pk=globex.id), f"x.{held.name}", by="a test")
    for ours in (settings.PLATFORM_HOST, host_of(acme), held.name, held.name.upper(), f"{held.name}."):
        assert ask(ours) == 200, ours
    for foreign in (
        waiting.name,
        f"y.{held.name}",
        "nobody.localhost",
        "example.com",
        "",
        "*",
        "127.0.0.1",
        "x" * 300,
        "ä.com",
    ):
        assert ask(foreign) == 404, foreign


def test_f8_a_failing_or_released_domain_gets_no_certificate(acme):
    held = proved(acme)
    domains.conclude(held, Finding(Outcome.MISSING, "gone"))
    certificates.forget()
    assert ask(held.name) == 404
    domains.conclude(held, Finding(Outcome.PROVED))
    certificates.forget()
    assert ask(held.name) == 200
    domains.release(held, by="a test")
    certificates.forget()
    assert ask(held.name) == 404


def test_a_paused_tenants_domain_keeps_its_certificate(acme):
    held = proved(acme)
    with acting_for_platform("a test"):
        lifecycle.suspend(Tenant.objects.get(pk=acme.id), by="a test", reason="May is open.")
    assert ask(held.name) == 200


def test_k4_nobody_but_the_front_gets_another_answer_than_for_a_page_that_is_not_there(acme, settings):
    held = proved(acme)
    front = Client()
    missing = front.get("/nothing/", headers={"host": "203.0.113.1"}).content
    strangers = (
        {"REMOTE_ADDR": "203.0.113.9"},
        {"REMOTE_ADDR": ""},
        {"headers": {"host": "127.0.0.1:8000", "x-forwarded-for": "127.0.0.1"}},
        {"headers": {"host": "127.0.0.1:8000", "forwarded": "for=127.0.0.1"}},
    )
    for changes in strangers:
        for host in (held.name, "nobody.example.com"):
            answer = front.get(PATH, {"domain": host}, **(FRONT | changes))
            assert (answer.status_code, answer.content) == (404, missing), changes
        assert front.post(PATH, **(FRONT | changes)).status_code == 404
    settings.TLS_ASK_FROM = env.parse_networks("203.0.113.0/28, 2001:db8::/32")
    assert ask(held.name, REMOTE_ADDR="203.0.113.9") == ask(held.name, REMOTE_ADDR="2001:db8::1") == 200
    assert ask(held.name, REMOTE_ADDR="203.0.113.99") == 404


def test_no_host_of_ours_has_the_page(acme):
    held = proved(acme)
    for host in (host_of(acme), settings.PLATFORM_HOST, held.name):
        answer = Client(headers={"host": host}).get(PATH, {"domain": held.name}, REMOTE_ADDR="127.0.0.1")
        assert answer.status_code == 404


def test_yes_and_no_look_alike_and_say_nothing_more(acme):
    held = proved(acme)
    answers = [Client().get(PATH, {"domain": host}, **FRONT) for host in (held.name, "nobody.example.com")]
    assert [answer.content for answer in answers] == [b"", b""]
    first, second = ({name for name, _ in answer.items()} for answer in answers)
    assert first == second


def test_a_flood_of_names_costs_no_more_queries_than_one_and_hides_no_real_one(acme):
    held = proved(acme)
    ask(settings.PLATFORM_HOST)  # where the front itself asks is known from here on
    certificates.forget()
    with CaptureQueriesContext(connections["default"]) as asked:
        assert {ask(f"{number}.example.com") for number in range(100)} == {404}
        assert ask(held.name) == 200
    assert len(asked) == 1
