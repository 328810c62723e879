"""One attempt to reach another tenant's data, and what became of it."""

import json
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import asdict, dataclass

import psycopg
from django.db import IntegrityError, ProgrammingError, connections, transaction

from tenants.context import TenantRef
from tenants.errors import NoTenantContext, TenantMismatch

logger = logging.getLogger(__name__)
REFUSED, LEAKED, UNTRIED = "refused", "LEAKED", "could not be tried"


class Untried(Exception):
    """The attempt says nothing: its own canary was not there, or nothing was there to reach for."""


@dataclass(frozen=True)
class Try:
    """Something to try.

    code   stable, for programs and auditors
    text   what is tried, as a sentence
    leaks  does it; returns what was reached, in words; nothing when every door was shut
           Raises  Untried; any other error means the same, e.g. a store that is away
    """

    code: str
    text: str
    leaks: Callable[[], list[str]]


@dataclass(frozen=True)
class Attempt:
    """What became of one. ``by``, ``against``: slugs. ``detail``: what leaked, or why it could not be tried."""

    code: str
    text: str
    by: str
    against: str
    outcome: str
    detail: str = ""

    def as_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return asdict(self)


def run(tried: Try, by: TenantRef, against: TenantRef) -> Attempt:
    """Make the attempt. Never raises: an attempt that fails by itself could not be tried."""
    try:
        leaks = tried.leaks()
        outcome, detail = (LEAKED, "; ".join(leaks)) if leaks else (REFUSED, "")
    except Untried as why:
        outcome, detail = UNTRIED, str(why)
    except Exception as error:  # the outermost frame of an attempt: the others shall still be made
        logger.exception("an isolation attempt failed by itself", extra={"attempt": tried.code})
        outcome, detail = UNTRIED, f"{type(error).__name__}: {error}".strip()[:300]
    return Attempt(tried.code, tried.text, by.slug, against.slug, outcome, detail)


def for_nobody(call: Callable):
    """What the call returns when nothing says for whom it works."""
    return Context().run(call)


def is_refused(call: Callable) -> bool:
    """Whether our own code refuses the call because of the context."""
    try:
        call()
    except (NoTenantContext, TenantMismatch):
        return True
    return False


def postgres_refuses(using: str, statement: str, params: list | None = None, *, absent: bool = False) -> bool:
    """Whether PostgreSQL denies the statement. If it does not, what was done is undone.

    absent  the table stands in another database, so that "there is no such table" is a refusal too
    """
    refusals = (psycopg.errors.InsufficientPrivilege,)
    if absent:
        refusals += (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(statement, params)
            transaction.set_rollback(True, using=using)
    except (ProgrammingError, IntegrityError) as error:
        return isinstance(error.__cause__, refusals)
    return False


REFUSALS = """
do $$
declare
    statement text;
    taken text[] := '{}';
begin
    foreach statement in array current_setting('isolation.statements')::text[] loop
        begin
            execute statement;
            raise exception using errcode = 'ISOOK';
        exception
            when insufficient_privilege then null;
            when undefined_table or invalid_schema_name then
                if current_setting('isolation.absent') <> 'yes' then taken := taken || statement; end if;
            when lock_not_available or deadlock_detected then raise;
            when others then taken := taken || statement;
        end;
    end loop;
    perform set_config('isolation.taken', to_json(taken)::text, true);
end $$
"""


def taken_by_postgres(using: str, statements: list[str], *, absent: bool = False) -> list[str]:
    """Those that PostgreSQL does not deny; each was undone. One round trip, for there may be hundreds.

    absent  as in `postgres_refuses`
    """
    ask = "select set_config('isolation.statements', %s::text[]::text, true), set_config('isolation.absent', %s, true)"
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(ask, [statements, "yes" if absent else "no"])
        cursor.execute(REFUSALS)
        cursor.execute("select current_setting('isolation.taken')")
        return json.loads(cursor.fetchone()[0])


def rows(using: str, statement: str, params: list | None = None) -> list[tuple]:
    """What a query finds."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()


def affected(using: str, statement: str, params: list) -> int:
    """How many rows a statement changes; it is undone. What another rule stops was reached all the same."""
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(statement, params)
            transaction.set_rollback(True, using=using)
            return cursor.rowcount
    except IntegrityError:
        return 1
