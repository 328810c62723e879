"""Every route of a tenant's host, called by A's people with B's ids: as if those did not exist."""

import re
from uuid import uuid4

import pytest
from django.test import Client

from tenants import provisioning
from tenants.accounts import keys
from tenants.accounts.models import User
from tenants.context import TenantRef, acting_for
from tests.conftest import host_of
from tests.isolation.matrix import Route, Victim, fill, random_ids, routes, snapshot

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PRINCIPALS = ("owner", "responder", "visitor", "key", "nobody")
TOKENS = re.compile(
    rb'name="csrfmiddlewaretoken" value="[^"]+"|data-ticket="[^"]+"|"ticket": ?"[^"]+"'
    rb'|"X-CSRFToken"[^}]+|"ms": ?[0-9.]+'
)
ECHO = re.compile(rb"[0-9a-f]{4,}(-[0-9a-f]+)*")  # allauth's forms repeat their address, split where it likes
ROUTES = routes()


@pytest.fixture(scope="module")
def world():
    """A, and B full of canaries."""
    acme, globex = (_tenant(name) for name in ("acme", "globex"))
    return acme, fill(globex)


def _tenant(name: str) -> TenantRef:
    slug = f"{name}-{uuid4().hex[:8]}"
    return provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a test").ref()


def caller(principal: str, tenant) -> Client:
    """A client on A's host as one kind of caller."""
    headers = {"host": host_of(tenant)}
    with acting_for(tenant):
        if principal == "key":
            _, key = keys.create(name="A", scopes=list(keys.SCOPES), by="a test")
            return Client(headers={**headers, "authorization": f"Bearer {key}"}, raise_request_exception=False)
        client = Client(headers=headers, raise_request_exception=False)
        if principal in ("owner", "responder"):
            email = f"{principal}@a.example"
            user = User.objects.filter(email=email).first() or User.objects.create_user(email, role=principal)
            client.force_login(user, backend="tenants.accounts.backends.RoleBackend")
    if principal == "visitor":
        client.get("/chat/")
    return client


def body_for(victim: Victim) -> dict:
    """A body that names the victim in every way a careless view could read."""
    return {
        "tenant": str(victim.tenant.id), "tenant_id": str(victim.tenant.id), "schema": victim.tenant.schema,
        **victim.ids, "text": "hello", "name": "x", "question": "x", "end_user": "x",
    }  # fmt: skip


def answer(client: Client, method: str, route: Route, ids: dict, victim: Victim) -> tuple[int, bytes, str]:
    """Status, body without what differs on every page, and where it leads."""
    kwargs = {} if method == "GET" else {"data": body_for(victim), "content_type": "application/json"}
    response = getattr(client, method.lower())(route.path(ids), **kwargs)
    body = b"".join(response) if response.streaming and not response.is_async else getattr(response, "content", b"")
    where = response.headers.get("Location", "")
    for value in ids.values():
        body, where = body.replace(value.encode(), b"ID"), where.replace(value, "ID")
    if route.pattern.startswith("accounts/"):
        body = ECHO.sub(b"", body)
    return response.status_code, TOKENS.sub(b"", body), where


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.pattern or "(root)")
def test_a1_foreign_ids_are_answered_like_ids_that_do_not_exist(route, world, worker):
    acme, victim = world
    before = snapshot(victim.tenant)
    for principal in PRINCIPALS:
        for method in METHODS:
            foreign = answer(caller(principal, acme), method, route, victim.ids, victim)
            assert victim.canary.encode() not in foreign[1], (principal, method)
            assert foreign[0] < 500 or route.pattern == "readyz", (principal, method, foreign[1][:300])
            if route.parameters:
                made_up = answer(caller(principal, acme), method, route, random_ids(victim), victim)
                assert foreign == made_up, (principal, method)
                if not route.pattern.startswith("accounts/"):  # allauth explains a bad link with 200
                    assert foreign[0] not in (200, 201, 204), (principal, method)
    assert snapshot(victim.tenant) == before


def test_every_parameter_of_a_route_is_in_the_matrix(world):
    _, victim = world
    unknown = {name for route in ROUTES for name in route.parameters} - set(victim.ids)
    assert unknown == set(), f"tell tests/isolation/matrix.py how to find ids of another tenant for {unknown}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.pattern or "(root)")
def test_a4_a_session_of_one_tenant_is_nobody_at_another(route, world, worker):
    acme, victim = world
    visiting, nobody = (Client(headers={"host": host_of(victim.tenant)}) for _ in range(2))
    visiting.cookies = caller("owner", acme).cookies
    assert answer(visiting, "GET", route, victim.ids, victim) == answer(nobody, "GET", route, victim.ids, victim)


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.pattern.startswith("api/")], ids=lambda r: r.pattern
)
def test_a5_a_key_of_one_tenant_opens_nothing_at_another(route, world):
    acme, victim = world
    with acting_for(acme):
        _, key = keys.create(name="A", scopes=list(keys.SCOPES), by="a test")
    headers = {"host": host_of(victim.tenant), "authorization": f"Bearer {key}"}
    for method in METHODS:
        status, body, _ = answer(Client(headers=headers), method, route, victim.ids, victim)
        assert status == 401 or route.pattern == "api/v1/schema/", (method, body)


def test_a5_a_key_and_a_session_together_are_refused(world):
    acme, _ = world
    client = caller("owner", acme)
    with acting_for(acme):
        _, key = keys.create(name="A", scopes=list(keys.SCOPES), by="a test")
    response = client.get("/api/v1/documents/", headers={"authorization": f"Bearer {key}"})
    assert (response.status_code, response.json()["code"]) == (401, "two_identities")
