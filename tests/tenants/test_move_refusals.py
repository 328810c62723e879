"""What a move must not do to anybody: not by two operators at once, not where a database is away, odd or another's."""

from contextlib import suppress

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from psycopg.conninfo import conninfo_to_dict

from agents.conversations.models import EndUser
from platform_site.errors import Conflict
from tenants import databases, lifecycle, openings, placements, relocation, schemas
from tenants.context import acting_for, acting_for_platform
from tenants.models import AuditEvent, Database, Move, Tenant, role_name
from tenants.moves import exclusion, orders, remains, running, steps
from tests.tenants.moving import content, home_of, move_to, spelled_differently, traces, write

OURS = conninfo_to_dict(settings.DATABASE_URL)


@pytest.fixture
def by_another_name(acme, monkeypatch) -> Database:
    """Acme's database under a second row and address, as an operator may add it by mistake."""
    with acting_for_platform("a test"):
        monkeypatch.setenv("TWIN_URL", spelled_differently(databases.address(home_of(acme))))
        twin = Database.objects.create(name="twin", url_variable="TWIN_URL", state="full")
        yield twin
        twin.delete()


@pytest.fixture
def away() -> Database:
    """A shared database whose server does not answer."""
    with acting_for_platform("a test"):
        row = Database(name="away", state="full", host="127.0.0.1", port=9, database_name="x")
        row.login_role = OURS["user"]
        row.save()
        row.sealed_password = databases.sealed(row, "x")
        row.save()
        yield row
        row.delete()


def test_a_move_to_the_same_database_by_another_address_touches_nothing(acme, by_another_name):
    write(acme, 3)
    before = content(acme)
    with pytest.raises(Conflict, match="one database by two addresses"):
        move_to(acme, by_another_name)
    assert content(acme) == before


def test_a_move_to_a_database_that_is_away_fails_and_its_copy_goes_when_it_is_back(acme, away, second):
    with acting_for_platform("a test"):
        orders.carry_out(orders.plan(lifecycle.named(acme.slug), away, by="a test").pk)
        move = Move.objects.get(tenant_id=acme.id)
        assert move.state == "failed" and "port 9" in move.error and "could not be removed yet" in move.error
        orders.clear_left()
        assert Move.objects.get(pk=move.pk).progress[remains.COPY_LEFT]
        place = conninfo_to_dict(databases.address(second))  # it answers now, and holds what was copied before
        Database.objects.filter(pk=away.pk).update(
            host=place["host"], port=place["port"], database_name=place["dbname"], epoch=2
        )
        away.refresh_from_db()
        schemas.make(away, acme.schema, role_name(away.pk, acme.id))
        orders.clear_left()
        assert remains.COPY_LEFT not in Move.objects.get(pk=move.pk).progress
    assert traces(acme) == ({("home", True)}, {acme.role})


def test_a_move_that_was_not_begun_is_cancelled_though_no_server_answers(acme, away, second):
    with acting_for_platform("a test"):
        move = orders.plan(lifecycle.named(acme.slug), second, by="a test")
        Move.objects.filter(pk=move.pk).update(source=away, target=away)
        assert orders.cancel(orders.find(move.pk.hex), by="a test").state == "rolled_back"


def test_what_a_failed_move_left_is_not_cleared_where_the_tenant_lives_by_now(acme, second):
    write(acme, 3)
    with acting_for_platform("a test"):
        home = Tenant.objects.get(pk=acme.id).database
        failed = Move.objects.create(
            tenant_id=acme.id, source=home, target=second, state="failed", ordered_by="me", progress={"copy_left": True}
        )
    move_to(acme, second)
    with acting_for_platform("a test"):
        orders.clear_left()
        assert remains.COPY_LEFT not in Move.objects.get(pk=failed.pk).progress
    with acting_for(acme):
        assert EndUser.objects.count() == 3


def test_of_go_back_and_finish_at_once_going_back_wins(acme, second):
    write(acme, 3)
    with acting_for_platform("a test"):
        move = move_to(acme, second)
        back = orders.plan_back(orders.find(move.pk.hex), by="one operator")
        relocation.carry_out_finish(move.pk)  # ordered by another
        assert "on its way back" in Move.objects.get(pk=move.pk).error
        with exclusion.alone(back), pytest.raises(Conflict):
            orders.finish(move)
        assert running.run(back).state == "retained"
        move.refresh_from_db()
        assert (move.state, move.error) == ("rolled_back", "")
    with acting_for(acme):
        assert EndUser.objects.count() == 3


def test_nobody_returns_into_a_dedicated_database_that_another_lives_in(acme, globex):
    """Both were possible once; the refusal must come before writers wait, because then only going on is possible."""
    with acting_for_platform("a test"):
        own = openings.open_dedicated(reserved_for="nobody", by="a test")
        try:
            with pytest.raises(Conflict, match="for one tenant alone"):
                orders.plan(lifecycle.named(globex.slug), own, by="a test")
            home = Tenant.objects.get(pk=acme.id).database
            left = Move.objects.create(
                tenant_id=acme.id, source=own, target=home, state="retained", retained_until=timezone.now()
            )
            Tenant.objects.filter(pk=globex.id).update(database=own)
            with pytest.raises(Conflict, match="full"):
                orders.plan_back(orders.find(left.pk.hex), by="a test")
        finally:
            Tenant.objects.filter(pk=globex.id).update(database=home)
            Move.objects.filter(source=own).delete()
            openings.drop_dedicated(own, by="a test")


def test_a_database_that_is_being_emptied_takes_back_whom_it_keeps_and_nobody_else(acme, globex, second):
    with acting_for_platform("a test"):
        home, left = Tenant.objects.get(pk=acme.id).database, Database.objects.filter(pk=second.pk)
        kept = Move.objects.create(tenant_id=acme.id, source=second, target=home, state="retained")
        placements.drain(second)
        try:
            with pytest.raises(CommandError, match="takes no tenants"):
                call_command("move_tenant", globex.slug, to=second.name)
            orders.cancel(orders.plan_back(orders.find(kept.pk.hex), by="a test"), by="a test")
        finally:
            left.update(state="open")
            kept.delete()


def test_a_tenant_migrated_while_it_was_copied_is_not_switched_to_the_older_schema(acme, second, monkeypatch):
    level = Tenant.objects.get(pk=acme.id).schema_level

    def reached(move, state, step, reach=steps.reach, **progress):
        reach(move, state, step, **progress)
        if step == "locking":
            Tenant.objects.filter(pk=acme.id).update(schema_level="a later one")

    monkeypatch.setattr(steps, "reach", reached)
    with acting_for_platform("a test"):
        try:
            with pytest.raises(Conflict, match="changed during the move"):
                move_to(acme, second)
        finally:
            Tenant.objects.filter(pk=acme.id).update(schema_level=level)
    assert traces(acme)[0] == {("home", True)}


def test_who_orders_a_move_at_a_terminal_stands_in_the_trail_as_who_does_on_the_pages(acme, second):
    call_command("move_tenant", acme.slug, to=second.name)
    with acting_for_platform("a test"):
        move = Move.objects.get(tenant_id=acme.id)
        call_command("move_back", move.pk.hex[-12:])
        left = orders.plan(lifecycle.named(acme.slug), second, by="a test")
        for _ in range(2):
            with suppress(CommandError):  # the second time it has ended
                call_command("move_resume", left.pk.hex, cancel=True)
        trail = AuditEvent.objects.filter(tenant_id=acme.id, action__startswith="tenant.move").order_by("at")
        assert [(entry.action, entry.actor) for entry in trail if entry.actor != "a test"] == [
            ("tenant.move_ordered", "manage.py move_tenant"),
            ("tenant.moved", "manage.py move_tenant"),
            ("tenant.move_back_ordered", "manage.py move_back"),
            ("tenant.moved", "manage.py move_back"),
            ("tenant.move_cancelled", "manage.py move_resume"),
        ]


def test_a_move_that_cannot_be_ordered_again_says_why(acme, second, monkeypatch):
    monkeypatch.setattr(steps, "LOCK_ATTEMPTS", 0)
    with acting_for_platform("a test"):
        move = orders.plan(lifecycle.named(acme.slug), second, by="a test")
        placements.drain(second)
        try:
            orders.carry_out(move.pk)
        finally:
            placements.reopen(second)
        error = Move.objects.get(pk=move.pk).error
        assert "not tried again by itself" in error and "takes no tenants" in error
        assert not Move.objects.filter(tenant_id=acme.id, state__in=Move.UNDER_WAY).exists()
