"""Pausing a tenant: who is told, what is refused, what stays."""

from functools import partial
from uuid import uuid4

import pytest
from celery.exceptions import Reject
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.conversations.models import Conversation
from knowledge import tasks, tokens
from knowledge.models import WorkToken
from platform_site.errors import BadInput, Conflict
from tenants import directory, lifecycle, store
from tenants.accounts import keys
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tenants.errors import TenantClosing, TenantPaused
from tenants.isolation import checking
from tenants.models import AuditEvent, Tenant
from tenants.tasks import HEADER
from tests.conftest import FULL, host_of
from tests.isolation.matrix import fill, routes, snapshot
from tests.knowledge.ingesting import state, unheard_of

REASON = "The invoice of May is open."
METHODS = ("POST", "PUT", "PATCH", "DELETE")


def row_of(ref) -> Tenant:
    with acting_for_platform("a test"):
        return Tenant.objects.get(pk=ref.id)


@pytest.fixture
def paused(acme):
    """Acme, paused."""
    lifecycle.suspend(row_of(acme), by="olive@atrium.example", reason=REASON)
    return directory.by_id(acme.id)


def test_pausing_twice_is_pausing_once_and_leaves_a_trace_of_who_and_why(acme):
    assert lifecycle.suspend(row_of(acme), by="olive@atrium.example", reason=REASON)
    assert not lifecycle.suspend(row_of(acme), by="otto@atrium.example", reason="again")
    assert lifecycle.resume(row_of(acme), by="otto@atrium.example")
    assert not lifecycle.resume(row_of(acme), by="otto@atrium.example")
    with acting_for(acme):
        events = AuditEvent.objects.filter(action__in=[lifecycle.SUSPENDED, lifecycle.RESUMED]).order_by("at")
        assert [(event.actor, event.details) for event in events] == [
            ("olive@atrium.example", {"reason": REASON}), ("otto@atrium.example", {}),
        ]  # fmt: skip


def test_a_tenant_that_is_being_set_up_can_be_neither_paused_nor_resumed(acme):
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk=acme.id).update(state=Tenant.State.PROVISIONING)
    with pytest.raises(Conflict, match="being set up"):
        lifecycle.suspend(row_of(acme), by="a test", reason=REASON)
    with pytest.raises(Conflict, match="being set up"):
        lifecycle.resume(row_of(acme), by="a test")


def turn(ref, state: str):
    """Bring a tenant into a state that no verb sets yet; what the directory says of it then."""
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk=ref.id).update(state=state)
    directory.forget()
    return directory.by_id(ref.id)


def test_a_tenant_that_is_being_closed_is_paused_in_words_of_its_own(acme, make_staff, client_of):
    owner = make_staff(acme)
    closing = turn(acme, Tenant.State.CLOSING)
    chat = client_of(closing).get("/chat/")
    assert chat.status_code == 503 and "is being closed" in chat.content.decode()
    browser = client_of(closing, owner)
    page = browser.get(reverse("portal:overview", urlconf="platform_site.urls_tenant"))
    assert page.status_code == 200 and "Your service is being closed." in page.content.decode()
    with acting_for(closing):
        _, key = keys.create(name="A", scopes=list(keys.SCOPES), by="a test")
    program = Client(headers={"host": host_of(closing), "authorization": f"Bearer {key}"})
    answer = program.post("/api/v1/conversations/", data={"end_user": "7"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (503, "tenant_closing")
    refusal = lifecycle.refused_among([acme.id])[acme.id]
    assert isinstance(refusal, TenantClosing) and "being closed" in str(refusal)
    for verb in (partial(lifecycle.suspend, reason=REASON), lifecycle.resume):
        with pytest.raises(Conflict, match="being closed"):
            verb(row_of(acme), by="a test")


@pytest.mark.parametrize("state", Tenant.GONE)
def test_a_tenant_that_is_erased_is_for_every_door_as_if_it_had_never_been(acme, make_staff, client_of, state):
    browser = client_of(acme, make_staff(acme))
    assert browser.get("/").status_code == 200
    assert turn(acme, state) is None
    nobody = Client(headers={"host": f"{uuid4().hex}.localhost"})
    for path in ("/", "/chat/", "/api/v1/conversations/", "/accounts/login/"):
        gone, never = browser.get(path), nobody.get(path)
        assert (gone.status_code, gone.content) == (never.status_code, never.content) and gone.status_code == 404
    assert acme.id not in {ref.id for ref in directory.all_active()}
    row = row_of(acme)
    with pytest.raises(Conflict, match="erased"):
        checking.check(row.ref())
    for verb in (partial(lifecycle.suspend, reason=REASON), lifecycle.resume):
        with pytest.raises(Conflict, match="erased"):
            verb(row, by="a test")


@pytest.mark.parametrize("state", Tenant.GONE)
def test_no_task_works_for_a_tenant_that_is_erased(acme, state):
    turn(acme, state)
    with pytest.raises(Reject):
        _sent_to(acme, tasks.work)


def _sent_to(ref, task) -> None:
    """Run a task as the worker would for a message with this tenant in its header."""
    task.push_request(**{HEADER: ref.id})
    try:
        task(token_id=str(uuid4()), seq=0)
    finally:
        task.pop_request()


def test_pausing_needs_a_reason(acme):
    for reason in ("  ", "a\x00b", "\udcff"):  # the last is what a terminal makes of bytes that are no UTF-8
        with pytest.raises(BadInput):
            lifecycle.suspend(row_of(acme), by="a test", reason=reason)
    assert row_of(acme).state == Tenant.State.ACTIVE


def test_the_chat_says_in_the_tenants_brand_that_it_is_paused(paused, client_of, globex):
    response = client_of(paused).get("/chat/")
    assert response.status_code == 503 and response["Retry-After"] == "60"
    assert paused.name in response.content.decode() and "paused" in response.content.decode()
    assert REASON not in response.content.decode()
    for path in ("/chat/ticket/", "/chat/new/"):
        assert client_of(paused).post(path).status_code == 503
    assert client_of(globex).get("/chat/").status_code == 200


def test_programs_may_read_and_get_one_stable_code_for_all_else(acme, client_of):
    with acting_for(acme):
        _, key = keys.create(name="A", scopes=list(keys.SCOPES), by="a test")
    client = Client(headers={"host": host_of(acme), "authorization": f"Bearer {key}"})
    body = {"data": {"end_user": "7"}, "content_type": "application/json"}
    address = client.post("/api/v1/conversations/", **body).json()["id"]
    lifecycle.suspend(row_of(acme), by="a test", reason=REASON)
    for path in ("/api/v1/conversations/", f"/api/v1/conversations/{address}/messages/"):
        response = client.post(path, **body)
        assert (response.status_code, response.json()["code"]) == (503, "tenant_paused")
        assert response["Retry-After"] == "60"
    assert client.get(f"/api/v1/conversations/{address}/messages/").status_code == 200
    with acting_for(acme):
        assert Conversation.objects.count() == 1


def test_whom_nobody_knows_is_not_told_more_than_before(paused):
    client = Client(headers={"host": host_of(paused), "authorization": "Bearer atr_wrong"})
    assert client.post("/api/v1/conversations/").status_code == 401


def test_staff_sign_in_and_every_page_says_why_and_to_whom_to_turn(paused, make_staff, settings):
    settings.SUPPORT_EMAIL = "help@atrium.example"
    owner = make_staff(paused)
    client = Client(headers={"host": host_of(paused)})
    response = client.post("/accounts/login/", {"login": owner.email, "password": "correct horse battery"})
    assert response.status_code == 302
    for name in ("overview", "agents", "documents", "branding", "team", "keys", "usage"):
        page = client.get(reverse(f"portal:{name}", urlconf="platform_site.urls_tenant"))
        assert page.status_code == 200
        assert REASON in page.content.decode() and "help@atrium.example" in page.content.decode(), name


def test_no_door_of_a_paused_tenant_writes_anything(acme):
    victim = fill(acme)
    with acting_for(acme):
        owner = User.objects.create_user(f"{uuid4().hex}@a.example", role="owner")
    lifecycle.suspend(row_of(acme), by="a test", reason=REASON)
    client = Client(headers={"host": host_of(acme)}, raise_request_exception=False)
    with acting_for(acme):
        client.force_login(owner, backend="tenants.accounts.backends.RoleBackend")
    before = snapshot(acme)
    for route in routes():
        path = route.path(victim.ids)
        if "accounts/" in path:
            continue  # signing in and out is allowed
        for method in METHODS if FULL or path.startswith("/api/") else METHODS[:1]:  # pages know no other
            response = client.generic(method, path, b"{}", content_type="application/json")
            assert response.status_code in (302, 403, 404, 405, 503), (method, route, response.status_code)
    assert snapshot(acme) == before


def _tokens(acme) -> list[tuple]:
    with acting_for(acme):
        return list(WorkToken.objects.values_list("pk", "seq"))


def test_documents_of_a_paused_tenant_wait_until_it_goes_on(acme):
    document = unheard_of(acme, "We open at nine.")
    with acting_for(acme):
        token = WorkToken.objects.create(lease_until=Now() + tokens.LEASE)
    tokens_of = partial(_tokens, acme)
    store.client().sadd(tokens.PENDING, acme.id)
    lifecycle.suspend(row_of(acme), by="a test", reason=REASON)
    with acting_for(directory.by_id(acme.id)):
        tasks.work.run(token_id=str(token.pk), seq=token.seq)
    assert state(acme, document).attempts == 0
    assert tokens_of() == [(token.pk, token.seq)]
    with acting_for(acme):
        WorkToken.objects.all().delete()
    with acting_for_platform("a test"):
        tokens.sweep()
    assert tokens_of() == []
    lifecycle.resume(row_of(acme), by="a test")
    with acting_for_platform("a test"):
        tokens.sweep()
    assert len(tokens_of()) == 1


def test_an_open_tenant_pays_no_query_for_it(acme):
    directory.by_id(acme.id)
    with CaptureQueriesContext(connections["default"]) as asked, acting_for(acme):
        lifecycle.refuse_if_paused(directory.by_id(acme.id))
    assert len(asked) == 0


def test_the_commands_pause_and_resume_and_say_what_happened(acme, capsys):
    call_command("suspend_tenant", acme.slug, reason=REASON)
    with pytest.raises(TenantPaused):
        lifecycle.refuse_if_paused(directory.by_id(acme.id))
    call_command("suspend_tenant", acme.slug, reason=REASON)
    call_command("resume_tenant", acme.slug)
    output = capsys.readouterr().out
    assert "is paused" in output and "was paused already" in output and "goes on" in output
    with pytest.raises(CommandError, match="There is no tenant"):
        call_command("resume_tenant", "nobody-here")


def test_operators_pause_and_resume_in_the_admin_after_being_asked(acme):
    with acting_for_platform("a test"):
        operator = User.objects.create_superuser(f"{uuid4().hex}@atrium.example")
        browser = Client(headers={"host": settings.PLATFORM_HOST})
        browser.force_login(operator, backend="tenants.accounts.backends.RoleBackend")
    page = reverse("admin:tenants_tenant_changelist", urlconf="platform_site.urls_platform")
    chosen = {"action": "suspend", "_selected_action": [acme.id]}
    asked = browser.post(page, chosen)
    assert "Why?" in asked.content.decode() and row_of(acme).state == Tenant.State.ACTIVE
    browser.post(page, {**chosen, "confirmed": "1", "reason": ""})
    assert row_of(acme).state == Tenant.State.ACTIVE
    browser.post(page, {**chosen, "confirmed": "1", "reason": REASON})
    assert row_of(acme).state == Tenant.State.SUSPENDED
    assert "Suspended" in browser.get(page, {"q": acme.slug}).content.decode()
    browser.post(page, {"action": "resume", "_selected_action": [acme.id], "confirmed": "1"})
    assert row_of(acme).state == Tenant.State.ACTIVE
