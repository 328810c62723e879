"""Domains in the portal: what staff claim, see, have looked for and let go, each of their own tenant alone."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from celery import Task
from celery.exceptions import OperationalError
from django.core import mail
from django.utils import timezone

from tenants import directory, domains, own_domains
from tenants.context import acting_for, acting_for_platform
from tenants.models import AuditEvent, DomainClaim
from tests.conftest import host_of


@pytest.fixture
def queue(monkeypatch):
    """What was ordered of workers: ``queue()`` carries it out."""
    waiting = []

    def kept(task, args=None, kwargs=None, **options):
        waiting.append((task, kwargs))

    def work():
        while waiting:
            task, kwargs = waiting.pop(0)
            task(**kwargs)

    monkeypatch.setattr(Task, "apply_async", kept)
    return work


@pytest.fixture
def host() -> str:
    """A name of the outside world that nobody has used."""
    return f"chat-{uuid4().hex[:10]}.example.com"


@pytest.fixture
def owner(acme, make_staff):
    return make_staff(acme)


@pytest.fixture
def browser(acme, owner, client_of):
    return client_of(acme, owner)


def claim_of(tenant, host: str) -> DomainClaim:
    with acting_for(tenant):
        return DomainClaim.objects.filter(name=host).latest("created_at")


def added(browser, tenant, host: str) -> DomainClaim:
    assert browser.post("/domains/", {"host": host}).status_code == 302
    return claim_of(tenant, host.strip().rstrip(".").lower())


def test_staff_add_a_domain_and_are_shown_its_records(acme, owner, browser, host):
    assert host_of(acme) in browser.get("/domains/").content.decode()
    made = added(browser, acme, f" {host.upper()}. ")
    page = browser.get("/domains/").content.decode()
    for shown in (made.record_name, made.record_value, host_of(acme), "Waits for its DNS record"):
        assert shown in page
    assert added(browser, acme, host).pk == made.pk
    with acting_for(acme):
        assert AuditEvent.objects.get(action="domain.claimed").actor == owner.email


def test_a_name_that_cannot_be_a_domain_is_refused_beside_the_field(browser, acme):
    for wrong in ("", "localhost", host_of(acme), "a b", "x" * 400):
        answer = browser.post("/domains/", {"host": wrong})
        assert answer.status_code == 400 and "Not saved yet" in answer.content.decode(), wrong


def test_a_tenant_claims_only_so_many(acme, browser, host, monkeypatch):
    monkeypatch.setattr(own_domains, "MOST", 1)
    added(browser, acme, host)
    refused = browser.post("/domains/", {"host": f"x.{host}"})
    assert (refused.status_code, "You claim 1 domains already" in refused.content.decode()) == (400, True)
    assert added(browser, acme, host)


def test_staff_have_a_domain_looked_for_and_are_told_what_was_found(acme, browser, host, dns, queue):
    made = added(browser, acme, host)
    dns.exists(made.record_name)
    for record, said in ((None, "Looked just now: "), (made.record_value, "the record is right")):
        if record:
            dns.txt(made.record_name, record)
            age(made)
        shown = browser.post(f"/domains/{made.pk}/check/")["Location"]
        page = browser.get(shown).content.decode()
        (awaited,) = re.findall(r'hx-get="([^"]+)"', page)
        assert "The DNS is being asked" in page
        assert "HX-Refresh" not in browser.get(awaited)
        queue()
        assert browser.get(awaited)["HX-Refresh"] == "true"
        assert said in browser.get(shown).content.decode()
    assert directory.by_host(host) == acme
    assert made.record_value not in browser.get("/domains/").content.decode()  # nothing is left to do


def test_staff_who_ask_again_and_again_are_not_obeyed_each_time(acme, browser, host, dns, queue):
    made = added(browser, acme, host)
    dns.exists(made.record_name)
    browser.post(f"/domains/{made.pk}/check/")
    queue()
    first = claim_of(acme, host).checked_at
    browser.post(f"/domains/{made.pk}/check/")
    queue()
    assert claim_of(acme, host).checked_at == first


def age(claim: DomainClaim) -> None:
    """As if its last look were long ago."""
    with acting_for_platform("a test"):
        DomainClaim.objects.filter(pk=claim.pk).update(checked_at=timezone.now() - timedelta(hours=1))


def test_staff_remove_a_domain_after_they_were_asked_and_every_owner_is_told(acme, owner, browser, host, dns, queue):
    made = added(browser, acme, host)
    dns.txt(made.record_name, made.record_value)
    domains.check(made)
    asked = browser.get(f"/domains/{made.pk}/remove/").content.decode()
    assert f"Remove {host}?" in asked and directory.by_host(host) == acme
    mail.outbox.clear()
    shown = browser.post(f"/domains/{made.pk}/remove/")["Location"]
    assert "Being removed" in browser.get(shown).content.decode()
    queue()
    assert directory.by_host(host) is None
    assert host not in browser.get(shown).content.decode()
    assert browser.get(f"/domains/{made.pk}/")["HX-Refresh"] == "true"
    (letter,) = mail.outbox
    assert letter.to == [owner.email] and f"released by {owner.email}" in letter.body


def test_a_domain_whose_record_is_gone_says_until_when_it_works(acme, browser, host):
    made = added(browser, acme, host)
    with acting_for_platform("a test"):
        DomainClaim.objects.filter(pk=made.pk).update(state="failing", failing_since=timezone.now())
    page = browser.get("/domains/").content.decode()
    assert "Stops working soon" in page and f"{host} stops leading here" in page and made.record_value in page


def test_an_order_that_no_worker_can_be_told_of_is_said(acme, browser, host, monkeypatch):
    made, page = added(browser, acme, host), f"http://{host_of(acme)}/domains/"

    def silent(*args, **kwargs):
        raise OperationalError

    monkeypatch.setattr(Task, "apply_async", silent)
    for path in ("check", "remove"):
        said = browser.post(f"/domains/{made.pk}/{path}/", follow=True, headers={"referer": page})
        assert "the queue does not answer" in said.content.decode(), path


def test_a_claim_of_another_tenant_is_not_there_for_staff_nor_for_an_order_that_names_it(
    acme, globex, browser, host, dns, make_staff, client_of
):
    theirs = added(client_of(globex, make_staff(globex)), globex, host)
    for path in ("", "remove/"):
        assert browser.get(f"/domains/{theirs.pk}/{path}").status_code == 404
    for path in ("check/", "remove/"):
        assert browser.post(f"/domains/{theirs.pk}/{path}").status_code == 404
    dns.txt(theirs.record_name, theirs.record_value)
    with acting_for_platform("a test"):
        own_domains.carry_out_check(theirs.pk, acme.id)
        own_domains.carry_out_release(theirs.pk, acme.id, by="acme")
    assert claim_of(globex, host).state == "waiting"
    assert host not in browser.get("/domains/").content.decode()


@pytest.mark.parametrize("role", ["builder", "responder", "analyst", "privacy"])
def test_only_owners_and_admins_see_domains(acme, make_staff, client_of, role):
    assert client_of(acme, make_staff(acme, role)).get("/domains/").status_code == 403
    page = client_of(acme, make_staff(acme, "admin")).get("/").content.decode()
    assert 'href="/domains/"' in page
