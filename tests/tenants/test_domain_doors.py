"""What a domain of a tenant's own opens: chat, sign-in and forms, each for that host alone."""

import time
from concurrent.futures import wait
from dataclasses import dataclass
from uuid import uuid4

import pytest
import websockets
from django.conf import settings
from django.db import transaction
from django.test import Client

from metering import attention
from platform_site.errors import Conflict
from tenants import domains
from tenants.context import TenantRef, acting_for_platform, run_for_nobody
from tenants.models import Domain, DomainClaim, Tenant
from tenants.proofs import Finding, Outcome
from tests.agents.chatting import Browser
from tests.conftest import PASSWORD, host_of
from tests.threads import Threads


@dataclass
class Elsewhere(Browser):
    """A visitor who comes by another host than the tenant's first."""

    name: str = ""

    @property
    def host(self) -> str:
        return f"{self.name}:{self.port}"


def domain_of(tenant: TenantRef, *, proved: bool = True) -> str:
    """A fresh domain of the tenant's own."""
    with acting_for_platform("a test"):
        row = Tenant.objects.get(pk=tenant.id)
    claim = domains.claim(row, f"chat-{uuid4().hex[:10]}.example.com", by="a test")
    if proved:
        domains.conclude(claim, Finding(Outcome.PROVED))
    return claim.name


@pytest.fixture
def domains_of_both(acme, globex) -> tuple[str, str, str]:
    """Acme's own, one that acme has not proved, and globex's."""
    return domain_of(acme), domain_of(acme, proved=False), domain_of(globex)


async def test_a_visitor_chats_on_a_proved_domain_and_no_page_of_another_host_gets_its_socket(
    acme, domains_of_both, server
):
    own, waiting, foreign = domains_of_both
    browser = Elsewhere(acme, server, name=own)
    async with browser.socket() as chat:
        await chat.ask("Hello, who are you?")
        assert (await chat.until("turn.finished"))["outcome"] == "done"
    response = await browser.request("GET", "/chat/")
    assert "domain=" not in response.headers.get("set-cookie", "").lower()
    for host in (waiting, foreign, f"x.{own}", host_of(acme)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with browser.socket(origin=f"http://{host}:{server}", say_hello=False):
                pass
        assert refused.value.response.status_code == 403, host
    lost = await Elsewhere(acme, server, name=waiting).request("GET", "/chat/")
    assert (lost.status_code, acme.name in lost.text) == (404, False)


async def test_sockets_of_a_domain_that_was_released_or_is_anothers_now_close_within_five_seconds(
    acme, globex, domains_of_both, server
):
    released, moved = domains_of_both[0], await run_for_nobody(domain_of, acme)

    def let_go():
        domains.release(domains.find(released), by="an operator")
        with acting_for_platform("a test"):
            Domain.objects.filter(domain=moved).update(tenant_id=globex.id)

    async with (
        Elsewhere(acme, server, name=released).socket() as one,
        Elsewhere(acme, server, name=moved).socket() as two,
        Browser(acme, server).socket() as home,
    ):
        began = time.monotonic()
        await run_for_nobody(let_go)
        for chat in (one, two):
            with pytest.raises(websockets.ConnectionClosed):
                while True:
                    await chat.next()
            assert chat.events[-1]["code"] == "address_gone"
        assert time.monotonic() - began < 5
        await home.ask("Hello?")
        assert (await home.until("turn.finished"))["outcome"] == "done"


def test_a4_a_session_of_one_domain_is_nobody_on_another_tenants(acme, globex, make_staff):
    owner, theirs = make_staff(acme), make_staff(globex)
    home = Client(headers={"host": domain_of(acme)})
    home.post("/accounts/login/", {"login": owner.email, "password": PASSWORD})
    assert home.get("/team/").status_code == 200
    for host in (domain_of(globex), host_of(globex), settings.PLATFORM_HOST):
        visiting = Client(headers={"host": host})
        visiting.cookies = home.cookies
        answer = visiting.get("/team/")
        assert answer.status_code in (302, 404) and owner.email.encode() not in answer.content, host
    assert theirs.email.encode() not in home.get("/team/").content


def test_f6_a_form_of_a_domain_is_taken_from_that_domain_only(acme, globex, make_staff):
    owner, host = make_staff(acme), domain_of(acme)
    browser = Client(enforce_csrf_checks=True, headers={"host": host})
    browser.get("/accounts/login/")
    form = {"login": owner.email, "password": PASSWORD, "csrfmiddlewaretoken": token_of(browser)}
    for origin in (f"http://{domain_of(globex)}", f"http://{host_of(acme)}", f"http://x.{host}", "null"):
        assert browser.post("/accounts/login/", form, headers={"origin": origin}).status_code == 403, origin
    assert browser.post("/accounts/login/", form, headers={"origin": f"http://{host}"}).status_code == 302


def token_of(browser: Client) -> str:
    return browser.cookies[settings.CSRF_COOKIE_NAME].value


def test_a_domain_at_risk_is_on_the_operators_first_page(acme):
    host = domain_of(acme)
    domains.conclude(domains.find(host), Finding(Outcome.MISSING, "gone"))
    with acting_for_platform("a test"):
        DomainClaim.objects.filter(name=host).update(failing_since="2026-01-01T00:00Z")  # the first to be lost
        notices = [notice.text for notice in attention.notices() if notice.label == "Domain at risk"]
    assert any(host in text for text in notices)


def main_of(tenant: TenantRef) -> list[str]:
    with acting_for_platform("a test"):
        return list(Domain.objects.filter(tenant_id=tenant.id, is_primary=True).values_list("domain", flat=True))


def test_a_domain_that_staff_removed_meanwhile_does_not_become_the_main_one(acme, domains_of_both):
    own = domains_of_both[0]
    with acting_for_platform("a test"):
        seen = Domain.objects.get(domain=own)
    domains.release(domains.find(own), by="staff", of_staff=True)
    with pytest.raises(Conflict):
        domains.make_main(seen, by="an operator")
    assert main_of(acme) == [host_of(acme)]


def test_a_domain_that_becomes_the_main_one_while_staff_remove_it_leaves_a_main_one(acme, domains_of_both):
    own = domains_of_both[0]

    with Threads(1) as threads:
        with acting_for_platform("a test"), transaction.atomic(using="platform"):
            domains.make_main(Domain.objects.get(domain=own), by="an operator")
            released = threads.submit(domains.release, domains.find(own), by="staff", of_staff=True)
            wait([released], timeout=1)  # it has come as far as it can
        released.result(timeout=20)
    assert main_of(acme) == [host_of(acme)]
