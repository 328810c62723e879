"""The probes, unknown hosts, and what every answer carries."""

import socket

import httpx
import pytest
from django.db import connections
from django.test import Client

from tenants.accounts import keys
from tenants.context import acting_for, acting_for_platform
from tests.conftest import host_of, until, web_process
from tests.processes import NO_TLS

LOCAL = {"REMOTE_ADDR": "127.0.0.1"}
REMOTE = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.mark.parametrize("host", ["10.0.0.7", "nobody.example", "localhost:9", "[::1]"])
def test_healthz_answers_any_host_barely(host):
    response = Client(headers={"host": host}).get("/healthz", **REMOTE)
    assert (response.status_code, response.content) == (200, b"ok")


def test_k4_readyz_tells_details_to_loopback_only(acme, worker):
    client = Client(headers={"host": host_of(acme)})
    until(lambda: client.get("/readyz", **LOCAL).status_code == 200, seconds=30)
    details = client.get("/readyz", **LOCAL).json()["checks"]
    assert set(details) == {"postgres", "valkey", "vectors", "worker"}
    assert all(check["ms"] >= 0 for check in details.values())
    for seen in (
        client.get("/readyz", **REMOTE),
        client.get("/readyz", headers={"x-forwarded-for": "1.2.3.4"}, **LOCAL),
    ):
        assert seen.content in (b"ready", b"not ready")


def test_readyz_is_503_and_names_what_is_missing(acme, settings):
    settings.QDRANT_URL = "http://127.0.0.1:9"
    response = Client(headers={"host": host_of(acme)}).get("/readyz", **LOCAL)
    assert response.status_code == 503
    assert response.json()["checks"]["vectors"]["ok"] is False


@pytest.mark.parametrize("path", ["/", "/chat/", "/admin/", "/api/v1/documents/", "/accounts/login/"])
def test_a2_an_unknown_host_gets_a_404_without_a_brand(path):
    for host in (
        "nobody.localhost",
        "localhost",
        "127.0.0.1",
        "sunrise.localhost.evil.example",
        "",
        "a" * 300,
        "[::1]",
    ):
        response = Client(headers={"host": host}).get(path)
        assert response.status_code == 404, host
        assert b"Atrium" not in response.content


@pytest.mark.parametrize("header", ["x-forwarded-host", "forwarded", "x-host", "x-tenant", "x-original-host"])
def test_a2_a3_no_other_header_names_a_tenant(acme, globex, header):
    plain = Client(headers={"host": host_of(acme)}).get("/accounts/login/")
    named = Client(headers={"host": host_of(acme), header: host_of(globex)}).get("/accounts/login/")
    assert globex.name.encode() not in named.content
    assert named.status_code == plain.status_code == 200


@pytest.mark.parametrize("write", [str.upper, lambda host: host + ".", lambda host: host + ":8000"])
def test_a2_case_trailing_dot_and_port_lead_to_the_same_tenant(acme, write):
    response = Client(headers={"host": write(host_of(acme))}).get("/accounts/login/")
    assert response.status_code == 200
    assert acme.name.encode() in response.content


def test_a19_the_admin_is_on_the_platforms_host_only(acme):
    assert Client(headers={"host": host_of(acme)}).get("/admin/").status_code == 404
    assert Client(headers={"host": "platform.localhost"}).get("/admin/").status_code == 302


@pytest.mark.parametrize("path", ["/", "/chat/", "/nothing/", "/accounts/login/", "/api/v1/documents/", "/healthz"])
def test_every_answer_carries_the_policy_and_a_request_id(acme, path):
    response = Client(headers={"host": host_of(acme)}).get(path)
    policy = response["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert response["X-Content-Type-Options"] == "nosniff"
    assert {"private", "no-store"} <= set(response["Cache-Control"].split(", "))
    assert len(response["X-Request-ID"]) >= 8


def test_a_host_header_cannot_write_into_the_policy(acme):
    response = Client(headers={"host": "evil.example; script-src *"}).get("/")
    assert "script-src *" not in response["Content-Security-Policy"]


def test_g3_a_body_that_is_too_large_is_413_before_it_is_read(acme, server):
    head = f"POST /chat/ticket/ HTTP/1.1\r\nHost: {host_of(acme)}\r\nContent-Length: {10**10}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server), timeout=20) as line:
        line.sendall(head.encode())
        assert line.recv(1_000).startswith(b"HTTP/1.1 413 ")


def test_r4_without_a_database_the_probes_still_tell_the_truth(acme):
    with web_process(fresh=True, DATABASE_URL="postgresql://nobody:x@127.0.0.1:9/none") as port:
        for host in ("10.0.0.7", "nobody.example", host_of(acme), "platform.localhost"):
            headers = {"host": host, "x-forwarded-for": "203.0.113.9", "cookie": "session=" + "x" * 32}
            live, ready = (
                httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=20, verify=NO_TLS)
                for path in ("/healthz", "/readyz")
            )
            assert (live.status_code, ready.status_code, ready.text) == (200, 503, "not ready"), host
        asked = f"http://127.0.0.1:{port}/tls/may-issue?domain=x.example.com"
        assert httpx.get(asked, timeout=20, verify=NO_TLS).status_code == 503


def test_r3_without_valkey_sign_in_waits_and_says_so(acme):
    with web_process(REDIS_URL="redis://127.0.0.1:9/0") as port:
        address = {"base_url": f"http://127.0.0.1:{port}", "timeout": 20, "verify": NO_TLS}
        with httpx.Client(**address, headers={"host": host_of(acme)}) as browser:
            assert browser.get("/chat/").status_code == 200
            page = browser.get("/accounts/login/")
            token = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
            cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
            typed = {"login": "a@b.example", "password": "x", "csrfmiddlewaretoken": token}
            refused = browser.post("/accounts/login/", data=typed, headers={"cookie": cookie})
            # unlimited guesses would be worse
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")


def test_r4_a_program_is_told_that_the_database_is_away(acme):
    with acting_for(acme):
        _, key = keys.create(name="A", scopes=["usage:read"], by="a test")
    client = Client(headers={"host": host_of(acme), "authorization": f"Bearer {key}"})
    assert client.get("/api/v1/usage/").status_code == 200
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute("begin; lock table metering_usagerecord in access exclusive mode")
        try:
            answer = client.get("/api/v1/usage/")
        finally:
            cursor.execute("rollback")
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "temporary_failure", "5")
