"""Statements that stand alone: they are the tenant's, and the connection they leave is nobody's."""

import os
import signal
import time
from dataclasses import replace

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, ProgrammingError, connections

from agents.conversations.models import EndUser
from tenants.backend import alone
from tenants.context import acting_for, acting_for_platform
from tenants.errors import NoTenantContext, TenantMismatch
from tenants.transactions import atomic

STATE = """
select current_user, current_setting('search_path'), coalesce(current_setting('app.tenant_id', true), ''), %(n)s
"""
ADD = """
insert into conversations_enduser (id, secret_hash, created_at, seen_at)
values (gen_random_uuid(), %(text)s, now(), now()) returning secret_hash
"""


@pytest.fixture(autouse=True)
def no_connection_is_taken(acme, globex):
    connections.close_all()


def ask(tenant, sql: str = STATE, **params) -> list[tuple]:
    """Asked of a server that has just answered."""
    alone.note(tenant.alias, time.time())
    return ask_again(tenant, sql, **params)


def ask_again(tenant, sql: str = STATE, **params) -> list[tuple]:
    with acting_for(tenant):
        return connections[tenant.alias].alone(sql, params or {"n": 1})


def left_in_the_pool(alias: str) -> set[tuple]:
    """What the server thinks of the pool's connections, whichever come: role, path, tenant."""
    pool, found = connections[alias].pool, set()
    taken = [pool.getconn() for _ in range(pool.get_stats()["pool_size"])]
    for connection in taken:
        found.add(connection.execute(STATE, {"n": 1}).fetchone()[:3])
        pool.putconn(connection)
    return found


def test_it_is_asked_as_the_tenant_and_leaves_the_connection_nobodys(acme, globex):
    nobodys = left_in_the_pool(acme.alias)
    assert len(nobodys) == 1
    for tenant in (acme, globex, acme):
        assert ask(tenant) == [(tenant.role, tenant.schema, str(tenant.id), 1)]
        assert connections[tenant.alias].connection is None
        assert left_in_the_pool(acme.alias) == nobodys


def test_it_is_committed_and_one_that_fails_leaves_nothing(acme, globex):
    assert ask(acme, ADD, text="a") == [("a",)]
    with pytest.raises(ProgrammingError, match="permission denied for schema"):
        ask(acme, f"with one as ({ADD}) select * from one, {globex.schema}.conversations_enduser", text="b")
    assert ask(acme) == [(acme.role, acme.schema, str(acme.id), 1)]
    connections.close_all()
    with acting_for(acme):
        assert EndUser.objects.values_list("secret_hash", flat=True).get() == "a"
    with acting_for(globex):
        assert EndUser.objects.count() == 0


def test_what_is_asked_stays_what_it_is_whatever_it_holds(acme):
    for text in (
        "'; drop table conversations_enduser; --",
        "%(text)s \\ ' \" $$ ;",
        "select set_config('role','none')",
    ):
        assert ask(acme, ADD, text=text) == [(text,)]


def test_inside_a_transaction_it_is_part_of_it(acme):
    with acting_for(acme):
        with pytest.raises(ValueError), atomic():
            ask(acme, ADD, text="gone")
            raise ValueError
        assert EndUser.objects.count() == 0


def test_beside_ordinary_statements_it_takes_no_second_connection(acme):
    """A thread that holds one and waits for another would wait for threads that do the same."""
    with acting_for(acme):
        EndUser.objects.count()
        process = connections[acme.alias].connection.info.backend_pid
        assert ask(acme, "select pg_backend_pid() where %(n)s = 1", n=1) == [(process,)]


def test_in_a_transaction_whose_connection_has_gone_it_is_refused(acme):
    with acting_for(acme), pytest.raises(ProgrammingError, match="in an atomic block"), atomic():
        connections[acme.alias].close()
        ask(acme, ADD, text="gone")
    connections.close_all()
    with acting_for(acme):
        assert EndUser.objects.count() == 0


async def test_on_an_event_loop_it_is_refused(acme):
    with pytest.raises(SynchronousOnlyOperation):
        ask(acme)


def test_what_reaches_the_server_when_nobody_waits_for_it_any_more_is_not_done(acme):
    """As from a frozen server, or a line that held it back: its sender has been told that it is not stored."""
    alone.note(acme.alias, time.time() - alone.ANSWER_SECONDS - 1)
    with pytest.raises(OperationalError, match="canceling statement"):
        ask_again(acme, ADD, text="late")
    assert ask_again(acme, ADD, text="in time") == [("in time",)]  # and the server's clock is learned anew
    with acting_for(acme):
        assert EndUser.objects.values_list("secret_hash", flat=True).get() == "in time"
    assert abs(alone.lately_heard(acme.alias).its_time - time.time()) < 1


def test_outside_any_tenant_and_for_one_that_lives_elsewhere_it_is_refused(acme):
    alone.note(acme.alias, time.time())
    with pytest.raises(NoTenantContext):
        connections[acme.alias].alone(STATE, {"n": 1})
    with acting_for_platform("a test"), pytest.raises(NoTenantContext):
        connections[acme.alias].alone(STATE, {"n": 1})
    with acting_for(replace(acme, alias="elsewhere_v1")), pytest.raises(TenantMismatch):
        connections[acme.alias].alone(STATE, {"n": 1})
    with acting_for(replace(acme, schema="x', true); --")), pytest.raises(TenantMismatch):
        connections[acme.alias].alone(STATE, {"n": 1})


def end_all(alias: str) -> None:
    """End every pooled connection, as a restart of the server does."""
    pool = connections[alias].pool
    killer, *others = (pool.getconn() for _ in range(min(pool.get_stats()["pool_size"] + 1, pool.max_size)))
    for connection in others:
        assert killer.execute("select pg_terminate_backend(%s, 1000)", [connection.info.backend_pid]).fetchone()[0]
    killer.close()
    for connection in (killer, *others):
        pool.putconn(connection)


def test_a_server_that_was_lost_is_greeted_before_it_is_asked_again(acme):
    ask(acme)
    end_all(acme.alias)
    with pytest.raises(OperationalError):
        ask(acme)
    assert not alone.lately_heard(acme.alias)
    assert ask_again(acme)[0][:2] == (acme.role, acme.schema)


def test_a_server_that_was_not_heard_of_lately_is_greeted_first(acme):
    alone.forget(acme.alias)
    end_all(acme.alias)
    assert ask_again(acme)[0][:2] == (acme.role, acme.schema)
    assert alone.lately_heard(acme.alias)


def test_r19_a_silent_server_costs_a_bounded_time_and_is_greeted_next(acme):
    pool = connections[acme.alias].pool
    taken = [pool.getconn() for _ in range(pool.get_stats()["pool_size"])]
    processes = [connection.info.backend_pid for connection in taken]
    for connection in taken:
        pool.putconn(connection)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(OperationalError):
            ask(acme)
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    assert time.monotonic() - began < alone.ANSWER_SECONDS + 3
    assert not alone.lately_heard(acme.alias)
    assert ask_again(acme)[0][:2] == (acme.role, acme.schema)
