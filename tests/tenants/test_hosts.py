"""tenants.hosts and tenants.sockets: one trusted source says which tenant is meant, however it is spelled."""

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from platform_site.asgi import application
from tenants import directory
from tenants.context import acting_for_platform
from tenants.models import Domain
from tests.conftest import host_of

LEADS_NOWHERE = (
    "{a}..", "{a}.:1:2", "{a}:1:2", "{a}:", "{a}:x", "{a}:\xb2", "{a}:999999", "{a} ", " {a}", "{a}\t", "{a} :8000",
    "x@{a}", "{a}@{b}", "{a},{b}", "{a}/", "{a}\\{b}", "{a}\xad", "[{a}]", ".{a}", "x{a}", "{a}.evil.example", "",
    ":80", ".",
)  # fmt: skip


def test_a2_spellings_of_one_host_lead_to_its_tenant(acme):
    for spelled in ("{a}", "{a}.", "{a}:8000", "{a}.:8000"):
        for host in (spelled.format(a=host_of(acme)), spelled.format(a=host_of(acme)).upper()):
            assert directory.by_host(host) == acme
            assert Client(headers={"host": host}).get("/accounts/login/").status_code == 200, host


def test_a2_what_is_no_host_of_ours_leads_nowhere_whatever_was_asked_before(acme, globex):
    for known in (acme, globex):
        assert directory.by_host(host_of(known)) == known
    for spelled in LEADS_NOWHERE:
        host = spelled.format(a=host_of(acme), b=host_of(globex))
        assert directory.by_host(host) is directory.cached_host(host)[1] is None, host
        response = Client(headers={"host": host}).get("/accounts/login/")
        assert (response.status_code, acme.name.encode() in response.content) == (404, False), host


@pytest.fixture
def worn_out(acme, globex, monkeypatch):
    """Both tenants' hosts were asked for, and have to be looked up again."""
    monkeypatch.setattr(directory, "CACHE_SECONDS", 0)
    directory.forget()
    for tenant in (acme, globex):
        assert directory.by_host(host_of(tenant)) == tenant
    monkeypatch.setattr(directory, "CACHE_SECONDS", 60)


def test_hosts_in_use_are_looked_up_together(acme, globex, worn_out, django_assert_num_queries):
    with django_assert_num_queries(1):
        for tenant in (acme, globex, acme):
            assert directory.by_host(host_of(tenant)) == tenant


def test_a_host_that_leads_nowhere_any_more_is_not_kept_with_the_others(acme, globex, worn_out):
    with acting_for_platform("a test"):
        Domain.objects.filter(domain=host_of(globex)).update(verified_at=None)
    assert directory.by_host(host_of(acme)) == acme
    assert directory.by_host(host_of(globex)) is None


async def socket(path: str = "/ws/chat/", **headers: list[str]) -> bool:
    """Whether a socket with these headers is let in."""
    sent = [(name.encode(), value.encode("latin-1")) for name, values in headers.items() for value in values]
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "scheme": "ws",
        "headers": sent,
        "subprotocols": [],
    }
    caller = ApplicationCommunicator(application, scope)
    await caller.send_input({"type": "websocket.connect"})
    answer = await caller.receive_output(timeout=10)
    await caller.send_input({"type": "websocket.disconnect", "code": 1000})
    await caller.wait(timeout=10)
    return answer["type"] == "websocket.accept"


async def test_f5_a_page_of_another_origin_gets_no_socket(acme, globex):
    a, b = host_of(acme), host_of(globex)
    for origin in (
        "null", "", f"http://{b}", f"http://{a}.evil.example", f"http://{a}@{b}", f"http://x@{a}", "http://[", "file://",
        f"ftp://{a}", f"http://{a}:81", a, f"http://{b}#{a}", f"http://{a}\\@{b}",
    ):  # fmt: skip
        assert not await socket(host=[a], origin=[origin]), origin


async def test_f5_a_page_of_the_host_gets_a_socket_at_the_chats_address_only(acme, globex):
    host = host_of(acme)
    for origin in (f"http://{host}", f"https://{host}", f"HTTP://{host.upper()}"):
        assert await socket(host=[host], origin=[origin])
    assert not await socket("/ws/nope/", host=[host], origin=[f"http://{host}"])
    assert not await socket(host=[host, host_of(globex)], origin=[f"http://{host_of(globex)}"])
    assert not await socket(host=[host], origin=[f"http://{host}", f"http://{host_of(globex)}"])
    assert not await socket()
