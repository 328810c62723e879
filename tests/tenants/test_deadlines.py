"""What is asked of a database is answered in time, or its connection is lost."""

import time

import psycopg
import pytest
from django.conf import settings

from tenants import context
from tenants.backend import deadlines
from tenants.backend.deadlines import answered
from tenants.context import learn_move, newest, run_for
from tenants.errors import TenantMoved


@pytest.fixture
def line():
    """A connection of its own."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(deadlines, "LOOK_SECONDS", 0.05)


def test_a_statement_inside_a_shorter_one_leaves_the_longer_its_time(line):
    with answered(line, 0.3):
        with answered(line, 60):
            line.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            line.execute("select pg_sleep(30)")


def test_a_fork_watches_with_a_thread_of_its_own(line):
    deadlines._forget()  # what runs in a fork's child, whose parent's thread is not there
    with answered(line, 0.2), pytest.raises(psycopg.OperationalError):
        line.execute("select pg_sleep(30)")


def test_a_connection_that_has_closed_is_not_waited_for(line):
    line.close()
    with answered(line, 0.1) as wait:
        time.sleep(0.3)
    assert wait.is_over


def test_a_connection_that_closes_before_it_can_be_given_up_harms_nobody(line):
    with answered(line, 0.2):
        line.close()
        time.sleep(0.4)
    with psycopg.connect(settings.DATABASE_URL) as other, answered(other, 5):
        assert other.execute("select 1").fetchone() == (1,)


async def test_who_waits_for_a_move_is_told_after_its_time(acme, monkeypatch):
    monkeypatch.setattr(context, "MOVE_SECONDS", 0.3)
    tries = []

    def meets_the_move():
        tries.append(time.monotonic())
        raise TenantMoved("This service is being moved.", retry_after=1)

    with pytest.raises(TenantMoved):
        await run_for(acme, meets_the_move)
    assert len(tries) > 2


def test_a_move_within_one_database_teaches_nothing(acme):
    learn_move(acme, acme)
    assert newest(acme) == acme
