"""Operators' pages on moves, promotions and running isolation checks: what they show, do, refuse and write down."""

from uuid import UUID, uuid4

import pytest
from celery import Task
from celery.exceptions import OperationalError
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.urls import reverse

from agents.conversations.models import EndUser
from metering import attention
from platform_site.errors import Conflict
from tenants import lifecycle, openings, placements, relocation
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tenants.isolation import runs
from tenants.models import AuditEvent, Database, Move, Tenant
from tenants.moves import orders, running
from tests.conftest import until
from tests.tenants.moving import any_shared, home_of


def url(name: str, *args, query: dict | None = None) -> str:
    return reverse(f"admin:{name}", args=args, urlconf="platform_site.urls_platform", query=query)


def signed_in(operator: User, **how) -> Client:
    client = Client(headers={"host": settings.PLATFORM_HOST}, **how)
    with acting_for_platform("a test"):
        client.force_login(operator, backend="tenants.accounts.backends.RoleBackend")
    return client


@pytest.fixture
def operator() -> User:
    with acting_for_platform("a test"):
        return User.objects.create_superuser(f"{uuid4().hex}@atrium.example")


@pytest.fixture
def browser(operator) -> Client:
    return signed_in(operator)


@pytest.fixture
def looker() -> Client:
    """An operator who may look at tenants and moves, and change nothing."""
    with acting_for_platform("a test"):
        user = User.objects.create_superuser(f"{uuid4().hex}@atrium.example")
        User.objects.filter(pk=user.pk).update(is_superuser=False)
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_tenant", "view_move"]))
        user.refresh_from_db()
    return signed_in(user)


@pytest.fixture
def homing(acme):
    """Acme, whose databases are dropped after the test, wherever it was moved."""
    with acting_for(acme):
        EndUser.objects.bulk_create(EndUser(secret_hash=uuid4().hex) for _ in range(50))
    yield acme
    for connection in connections.all(initialized_only=True):
        connection.close()
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk=acme.id).update(regulated=False)
        row = lifecycle.named(acme.slug)
        if row.database.kind == "dedicated":
            running.run(orders.plan(row, any_shared(), by="a test"))
        for move in Move.objects.filter(tenant=row, state="retained").select_related("tenant", "source", "target"):
            orders.finish(orders.find(move.pk.hex))


def row_of(tenant) -> Tenant:
    with acting_for_platform("a test"):
        return Tenant.objects.select_related("database").get(pk=tenant.id)


def move_of(tenant) -> Move:
    """Its newest."""
    with acting_for_platform("a test"):
        moves = Move.objects.select_related("tenant__database", "source", "target").filter(tenant_id=tenant.id)
        return moves.latest("created_at")


def carried_out(tenant) -> Move:
    """Its newest move, once it has ended: here, or by a worker of the same run of tests."""
    with acting_for_platform("a test"):
        orders.carry_out(move_of(tenant).pk)
    until(lambda: move_of(tenant).state not in Move.UNDER_WAY)
    return move_of(tenant)


def finished(move) -> Move:
    """The move, once its old copy was to go: here, or by a worker; what kept it from that is tried again, as always."""
    with acting_for_platform("a test"):
        relocation.carry_out_finish(move.pk)
        return Move.objects.get(pk=move.pk)


def actions_of(tenant) -> list[tuple[str, str]]:
    """What the trail says: action and who."""
    with acting_for(tenant):
        return list(AuditEvent.objects.order_by("at").values_list("action", "actor"))


def told(tenant) -> list[str]:
    """What the operators' first page says of it."""
    with acting_for_platform("a test"):
        return [notice.label for notice in attention.notices() if notice.tenant and notice.tenant.pk == tenant.id]


def change(tenant, **more) -> dict:
    return {"name": tenant.name, "timezone": "UTC", **more}


def test_an_operator_moves_a_tenant_watches_takes_it_back_and_lets_the_old_copy_go(homing, operator, browser):
    order = url("tenants_tenant_move", homing.id)
    assert order in browser.get(url("tenants_tenant_change", homing.id)).content.decode()
    action = {"action": "move", "_selected_action": [homing.id]}
    assert browser.post(url("tenants_tenant_changelist"), action)["Location"] == order
    assert "Where shall it live?" in browser.get(order).content.decode()
    foreseen = browser.get(f"{order}?to=dedicated").content.decode()
    assert "a new database of its own" in foreseen and "for 24 hours" in foreseen
    with acting_for_platform("a test"):
        assert not Move.objects.filter(tenant_id=homing.id).exists()  # looking orders nothing

    answer = browser.post(order, {"to": "dedicated"})
    move = carried_out(homing)
    page = url("tenants_move_change", move.pk)
    assert answer["Location"] == page and move.state == "retained"
    html = browser.get(page).content.decode()
    assert row_of(homing).database.kind == "dedicated" and move.target.name in html
    assert f"by {operator.email}" in html and html.count('aria-current="step"') == 1
    assert browser.get(url("tenants_move_progress", move.pk)).json()["actions"] == ["go_back", "finish"]
    listed = browser.get(url("tenants_move_changelist", query={"q": homing.slug})).content.decode()
    assert move.target.name in listed and f"{move.progress['rows']:,}" in listed

    assert "all that was written meanwhile" in browser.get(url("tenants_move_go_back", move.pk)).content.decode()
    assert row_of(homing).database.kind == "dedicated"
    browser.post(url("tenants_move_go_back", move.pk))
    back = carried_out(homing)
    assert back.pk != move.pk and row_of(homing).database == home_of(homing)

    assert "The way back goes with it" in browser.get(url("tenants_move_finish", back.pk)).content.decode()
    browser.post(url("tenants_move_finish", back.pk))
    until(lambda: finished(back).state == "done")
    assert browser.get(url("tenants_move_progress", back.pk)).json()["actions"] == []
    done = [action for action, by in actions_of(homing) if by == operator.email]
    assert done == ["tenant.move_ordered", "tenant.moved", "tenant.move_back_ordered", "tenant.moved",
                    "tenant.move_finish_ordered"]  # fmt: skip


def test_a_move_is_cancelled_before_its_switch_and_not_after(acme, operator, browser):
    with acting_for_platform("a test"):
        move = orders.plan(lifecycle.named(acme.slug), None, by="a test")
    assert told(acme) == ["Being moved"]
    shown = browser.get(url("tenants_move_progress", move.pk)).json()
    assert shown["live"] and shown["actions"] == ["cancel"] and "Planned: 0 %" in shown["said"]
    assert browser.get(url("tenants_move_cancel", move.pk)).status_code == 302
    assert not move_of(acme).cancelled  # looking cancels nothing
    browser.post(url("tenants_move_cancel", move.pk))
    assert carried_out(acme).state == "rolled_back"
    assert row_of(acme).database == home_of(acme)
    again = browser.post(url("tenants_move_cancel", move.pk), follow=True).content.decode()
    assert "can no longer be cancelled" in again
    assert ("tenant.move_cancelled", operator.email) in actions_of(acme)


def test_an_order_that_no_worker_can_be_told_of_is_written_down_and_said(acme, operator, browser, monkeypatch):
    def silent(*args, **kwargs):
        raise OperationalError

    monkeypatch.setattr(Task, "apply_async", silent)
    page = browser.post(url("tenants_tenant_move", acme.id), {"to": "dedicated"}).content.decode()
    assert "the queue does not answer" in page and "written down" in page
    assert actions_of(acme)[-1] == ("tenant.move_ordered", operator.email)
    browser.post(url("tenants_move_cancel", move_of(acme).pk))
    assert carried_out(acme).state == "rolled_back"


def test_marking_a_tenant_as_regulated_offers_a_database_of_its_own_first(homing, operator, browser, settings):
    settings.REGION = "eu-south"
    page = url("tenants_tenant_change", homing.id)
    offered = browser.post(page, change(homing, regulated="on", name=f"{homing.name} AG")).content.decode()
    assert "Promote now" in offered and "Only set the flag" in offered and f"{homing.name} AG" in offered
    assert "Their region: eu-south" in offered and not row_of(homing).regulated  # nothing is saved yet

    browser.post(page, change(homing, regulated="on", promotion="later"))
    assert row_of(homing).regulated and row_of(homing).database == home_of(homing)
    assert told(homing) == ["Shares a database"]
    browser.post(page, change(homing))
    assert not row_of(homing).regulated

    answer = browser.post(page, change(homing, regulated="on", promotion="now"))
    assert answer["Location"] == url("tenants_move_change", move_of(homing).pk)
    assert carried_out(homing).state == "retained" and row_of(homing).database.kind == "dedicated"
    done = [action for action, by in actions_of(homing) if by == operator.email]
    assert done.count("tenant.marked_regulated") == 2 and "tenant.no_longer_regulated" in done
    assert "Promote now" not in browser.post(page, change(homing, regulated="on")).content.decode()

    order = url("tenants_tenant_move", homing.id)
    assert "may only live in a database of its own" in browser.get(order).content.decode()
    shared = home_of(homing).name
    for answer in (browser.get(f"{order}?to={shared}"), browser.post(order, {"to": shared})):
        assert "is regulated" in answer.content.decode()
    refused = browser.post(url("tenants_move_go_back", move_of(homing).pk), follow=True).content.decode()
    assert "is regulated" in refused and row_of(homing).database.kind == "dedicated"


@pytest.mark.parametrize(("files", "warned"), [("eu-south", True), ("eu-north", False), ("", False)])
def test_a_target_in_another_region_than_the_files_is_said(acme, browser, settings, files, warned):
    settings.REGION = files
    with acting_for_platform("a test"):
        near = openings.beside()
        placements.set_limits(near, region="eu-north")
    try:
        page = browser.get(f"{url('tenants_tenant_move', acme.id)}?to=dedicated").content.decode()
    finally:
        with acting_for_platform("a test"):
            placements.set_limits(near, region="")
    assert ("Another region." in page) is warned and "region eu-north" in page


@pytest.mark.parametrize("state", Tenant.GONE)
def test_a_tenant_that_is_erased_is_not_moved(acme, browser, state):
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk=acme.id).update(state=state)
        for verb in (relocation.foresee, lambda *args: relocation.order(*args, by="a test")):
            with pytest.raises(Conflict, match="cannot be moved"):
                verb(lifecycle.named(acme.slug), None)
    page = browser.post(url("tenants_tenant_move", acme.id), {"to": "dedicated"}).content.decode()
    assert "cannot be moved" in page


def test_who_may_only_look_orders_and_stops_nothing(acme, operator, looker):
    with acting_for_platform("a test"):
        move = orders.plan(lifecycle.named(acme.slug), None, by="a test")
    assert looker.get(url("tenants_move_change", move.pk)).status_code == 200
    assert looker.get(url("tenants_tenant_move", acme.id)).status_code == 403
    assert looker.post(url("tenants_tenant_move", acme.id), {"to": "dedicated"}).status_code == 403
    for name in ("cancel", "go_back", "finish"):
        assert looker.post(url(f"tenants_move_{name}", move.pk)).status_code == 403
        forged = signed_in(operator, enforce_csrf_checks=True).post(url(f"tenants_move_{name}", move.pk))
        assert forged.status_code == 403
        assert (
            Client(headers={"host": settings.PLATFORM_HOST}).post(url(f"tenants_move_{name}", move.pk)).status_code
            == 302
        )
    assert not move_of(acme).cancelled
    with acting_for_platform("a test"):
        orders.cancel(orders.find(move.pk.hex), by="a test")


def test_an_operator_changes_what_a_database_takes(browser):
    with acting_for_platform("a test"):
        row = Database.objects.get(name="shared_1")
    page = url("tenants_database_change", row.pk)
    try:
        limits = {"region": "eu-north", "capacity_tenants": 400, "capacity_bytes": 10**12, "may_create": "on"}
        assert browser.post(page, limits).status_code == 302
        with acting_for_platform("a test"):
            row.refresh_from_db()
        assert (row.region, row.capacity_tenants, row.capacity_bytes) == ("eu-north", 400, 10**12)
        assert "At most 500" in browser.post(page, limits | {"capacity_tenants": 501}).content.decode()
        with acting_for_platform("a test"):
            row.refresh_from_db()
        assert row.capacity_tenants == 400
    finally:
        with acting_for_platform("a test"):
            Database.objects.filter(pk=row.pk).update(region="", capacity_tenants=500, capacity_bytes=None)


def test_the_page_of_running_isolation_checks_says_what_could_not_be_checked(acme, operator, browser):
    chosen = {"action": "check_isolation", "_selected_action": [acme.id]}
    with acting_for_platform("a test"):
        Tenant.objects.filter(pk=acme.id).update(state=Tenant.State.ERASING)
    run = browser.post(url("tenants_tenant_changelist"), chosen)["Location"]
    assert acme.name in browser.get(run).content.decode()
    with acting_for_platform("a test"):
        runs.carry_out(UUID(run.split("/")[-2]), acme.id, by=operator.email)
    shown = until(lambda: (found := browser.get(f"{run}progress/").json()) and not found["live"] and found)
    assert "cannot be checked: being erased" in shown["html"] and "1 of 1 checked" in shown["html"]
    unknown = browser.get(url("tenants_isolationcheck_run", uuid4())).content.decode()
    assert "Nobody knows this run any more" in unknown
