"""The kinds of caller that the isolation matrix sends, and their answers in a form that can be compared."""

import re

from asgiref.sync import async_to_sync
from django.test import Client

from tenants.accounts.models import User
from tenants.context import TenantRef, acting_for, acting_for_platform
from tests.conftest import host_of
from tests.isolation.matrix import Route, Victim

# What differs on every page however equal the questions were: CSRF tokens and tickets (random), durations, ids
NEVER_EQUAL = re.compile(
    rb'name="csrfmiddlewaretoken" value="[^"]+"|data-ticket="[^"]+"|"ticket": ?"[^"]+"'
    rb'|"X-CSRFToken"[^}]+|"ms": ?[0-9.]+|"request_id": ?"[^"]+"'
)
NAMED_TENANT = re.compile(rb"(?:tenant|tenant_id|schema)(?:=|%3D)\w+")
ECHO = re.compile(rb"[0-9a-f]{4,}(-[0-9a-f]+)*")  # allauth's forms repeat their address, split where it likes
BACKEND = "tenants.accounts.backends.RoleBackend"


def caller(principal: str, home: Victim) -> Client:
    """A client on a tenant's host as one kind of caller; an operator comes with the cookies of the platform's host."""
    client = Client(headers={"host": host_of(home.tenant)}, raise_request_exception=False)
    if principal == "key":
        client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {home.key}"
    elif principal == "visitor":
        client.get("/chat/")
    elif principal == "operator":
        with acting_for_platform("a test"):
            sign_in(client, "isolation@atrium.example", is_staff=True, is_superuser=True)
    elif principal == "owner":
        with acting_for(home.tenant):  # the strangers have an owner of the same key
            client.force_login(User.objects.get(pk=home.ids["uidb36"]), backend=BACKEND)
    elif principal != "nobody":
        with acting_for(home.tenant):
            sign_in(client, f"{principal}@a.example", role=principal)
    return client


def sign_in(client: Client, email: str, **fields) -> None:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email, **fields)
    client.force_login(user, backend=BACKEND)


def body_for(tenant: TenantRef, ids: dict) -> dict:
    """A body that names a tenant and its rows in every way a careless view could read."""
    return {
        "tenant": str(tenant.id), "tenant_id": str(tenant.id), "schema": tenant.schema,
        **ids, "text": "hello", "name": "x", "question": "x", "end_user": "x",
    }  # fmt: skip


def answer(client: Client, method: str, route: Route, ids: dict, tenant: TenantRef) -> tuple[int, bytes, bytes]:
    """Status, body without what differs on every page, and where it leads; all of it names the tenant and its ids."""
    said = body_for(tenant, ids)
    options = {"query_params": said, "headers": {"X-Tenant": tenant.schema, "X-Tenant-Id": str(tenant.id)}}
    if method in ("POST", "PUT", "PATCH", "DELETE"):
        is_form = method == "POST" and not route.pattern.startswith("api/")
        options["data"] = said
        options |= {} if is_form else {"content_type": "application/json"}
    response = getattr(client, method.lower())(route.path(ids), **options)
    body = ECHO.sub(b"", body_of(response)) if route.pattern.startswith("accounts/") else body_of(response)
    where = response.headers.get("Location", "").encode()
    return response.status_code, comparable(body, ids), comparable(where, ids)


def comparable(text: bytes, ids: dict) -> bytes:
    """Without what was asked for, which pages and addresses repeat, and what differs on every page."""
    for value in ids.values():
        text = text.replace(value.encode(), b"ID") if len(value) >= 8 else text
    return NEVER_EQUAL.sub(b"", NAMED_TENANT.sub(b"", text))


def body_of(response) -> bytes:
    """All of it, streamed or not."""
    if not response.streaming:
        return response.content

    async def parts() -> bytes:
        return b"".join([part async for part in response])

    return async_to_sync(parts)() if response.is_async else b"".join(response)
