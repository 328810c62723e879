"""The steps of a move. Killed at any line, `run` goes on from what it finds: facts decide, not the last written state.

The fence is the rename of the old schema, in the transaction that makes writers wait: before it the old place is the
truth and the copy can be thrown away; after it only going on is possible. Source: architecture, section 10.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from psycopg import Connection, errors

from platform_site.errors import Conflict, PlatformError
from tenants import databases, directory, fleet, placements, schema_template, schemas
from tenants.context import learn_move
from tenants.errors import CopyDiffers, NoLock
from tenants.models import AuditEvent, Database, Move, Tenant, role_name
from tenants.moves import copying

logger = logging.getLogger(__name__)

LOCK_ATTEMPTS = 5
LOCK_MS = 2_000
WATCH = timedelta(hours=24)
# In this order; a test kills a move at each of them
STEPS = ("opening", "emptying", "preparing", "locking", "copying", "comparing", "committing", "fencing", "switching",
         "settling", "ending")  # fmt: skip


def run(move: Move) -> Move:
    """Bring a move to its end, from whatever point it has reached. Platform work.

    Raises  Conflict      another process is at work on this tenant
            NoLock        the tenant's writers did not pause; all is as before, and it may be ordered again
            CopyDiffers   all is as before
    """
    with _alone(move):
        move = Move.objects.select_related("tenant__database", "source", "target", "undoes").get(pk=move.pk)
        if move.state not in Move.UNDER_WAY:
            return move
        if move.state != Move.State.SWITCHED:
            if not is_fenced(move):
                if move.cancelled:
                    return _give_up(move, Move.State.ROLLED_BACK, "")
                _try(move)
            _switch(move)
        _settle(move)
    return move


def is_fenced(move: Move) -> bool:
    """Whether the old schema has been renamed: from then on the copy is the truth."""
    if move.target is None:
        return False
    with psycopg.connect(databases.provision_address(move.source)) as source:
        return schemas.is_there(source.cursor(), move.old_schema)


def reach(move: Move, state: str, step: str, **progress) -> None:
    """Write down where the move stands, before the step is done."""
    move.state, move.progress = state, {**move.progress, "step": step, "reached": state, **progress}
    move.save(update_fields=["state", "progress", "target"])


def _try(move: Move) -> None:
    try:
        _prepare(move)
        _copy(move)
    except (PlatformError, psycopg.Error) as error:
        if not is_fenced(move):  # else the answer to the last commit was lost, not the commit
            _give_up(move, Move.State.FAILED, str(error))
            raise


def _prepare(move: Move) -> None:
    """An empty schema of this release at the target; what an earlier attempt left there goes."""
    reach(move, Move.State.PREPARING, "opening")
    if move.target is None:
        move.target = placements.open_dedicated(reserved_for=move.purpose, by=move.ordered_by)
    reach(move, Move.State.PREPARING, "emptying")
    schemas.drop(move.target, move.tenant.schema_name, _role(move))
    if move.tenant.schema_level != schema_template.fingerprint():
        raise Conflict(f"{move.tenant} has the schema of another release. Run manage.py deploy first.")
    reach(move, Move.State.PREPARING, "preparing")
    schemas.make(move.target, move.tenant.schema_name, _role(move))


def _copy(move: Move) -> None:
    """Lock, copy, compare, commit the copy, put up the fence."""
    with (
        psycopg.connect(databases.provision_address(move.source)) as source,
        psycopg.connect(databases.provision_address(move.target)) as target,
    ):
        copying.enter(target, move.tenant.schema_name, _role(move))
        reach(move, Move.State.FROZEN, "locking")
        tables = _locked(move, source)
        began = time.monotonic()
        _copy_rows(move, source, target, tables)
        copied = time.monotonic()
        _compare(move, source, target, tables)
        compared = time.monotonic()
        reach(move, Move.State.VERIFYING, "committing")
        target.commit()
        reach(move, Move.State.VERIFYING, "fencing")
        _fence(move, source)
        source.commit()
    seconds = {"copy": copied - began, "compare": compared - copied, "frozen": time.monotonic() - began}
    move.progress["seconds"] = {name: round(value, 3) for name, value in seconds.items()}


def _locked(move: Move, source: Connection) -> list[copying.Table]:
    """The tenant's tables, once its writers wait. Bounded: writers that queue behind us must not wait long."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        copying.enter(source, move.tenant.schema_name, move.tenant.role)
        try:
            source.execute("select set_config('lock_timeout', %s, true)", [f"{LOCK_MS}ms"])
            source.execute(f"select pg_advisory_xact_lock({fleet.SCHEMA_LOCK})", [move.tenant_id])
            tables = copying.tables(source)
            copying.lock(source, tables)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            source.rollback()
            logger.info("move waits for writers", extra={"move": str(move.pk), "attempt": attempt})
            time.sleep(0.2 * attempt)
        else:
            return tables
    raise NoLock(f"{move.tenant} was written to without a pause. Nothing was changed; try again later.", retry_after=60)


def _copy_rows(move: Move, source: Connection, target: Connection, tables: list[copying.Table]) -> None:
    done = {"tables": 0, "of": len(tables), "bytes": 0}
    reach(move, Move.State.FROZEN, "copying", **done)
    shown = time.monotonic()

    def report(table: copying.Table, size: int) -> None:
        nonlocal shown
        done["tables"] += 1
        done["bytes"] += size
        if time.monotonic() - shown > 0.5:  # not for each of many small tables: writers wait
            shown = time.monotonic()
            reach(move, Move.State.FROZEN, "copying", table=table.name, **done)

    copying.copy(source, target, tables, report)
    move.progress |= done


def _compare(move: Move, source: Connection, target: Connection, tables: list[copying.Table]) -> None:
    reach(move, Move.State.VERIFYING, "comparing")
    ours, theirs = copying.compared(source, target, tables)
    move.progress |= {
        "rows": sum(check.rows for check in ours.values()),
        "checks": {name: [check.rows, str(check.checksum)] for name, check in ours.items()},
    }
    if differing := [name for name in ours if ours[name] != theirs[name]]:
        raise CopyDiffers(f"The copy of {', '.join(differing)} differs. It was thrown away.")


def _fence(move: Move, source: Connection) -> None:
    """Rename the old schema: whoever waited to write there finds no table, so nothing is written where it is lost."""
    role, provision = move.tenant.role, f"{settings.INSTALL}_provision"
    source.execute("reset role")
    source.execute(f"grant {role} to {provision} with inherit true, set true")  # renaming asks for owner and database
    source.execute(f"alter schema {move.tenant.schema_name} rename to {move.old_schema}")
    source.execute(f"grant {role} to {provision} with inherit false, set true")


def _switch(move: Move) -> None:
    """The directory says the new place; processes that still have the old one fail there and look again."""
    reach(move, Move.State.VERIFYING, "switching")
    before = move.tenant.ref()
    with transaction.atomic(using="platform"):
        Tenant.objects.filter(pk=move.tenant_id).update(database=move.target)
        reach(move, Move.State.SWITCHED, "switching")
    directory.forget()
    move.tenant.database = move.target
    learn_move(before, move.tenant.ref())
    reach(move, Move.State.SWITCHED, "settling")


def _settle(move: Move) -> None:
    """Statistics for the planner, the end of the move that this one undoes, and an entry in the audit trail."""
    with psycopg.connect(databases.provision_address(move.target)) as target:
        copying.enter(target, move.tenant.schema_name, _role(move))
        for table in copying.tables(target):
            target.execute(f'analyze "{table.name}"')
    if move.undoes:
        drop_old(move.undoes, Move.State.ROLLED_BACK)
    reach(move, Move.State.SWITCHED, "ending")
    details = {"move": str(move.pk), "from": move.source.name, "to": move.target.name}
    with transaction.atomic(using="platform"):
        AuditEvent.objects.create(tenant=move.tenant, actor=move.ordered_by, action="tenant.moved", details=details)
        move.retained_until = timezone.now() + WATCH
        move.save(update_fields=["retained_until"])
        reach(move, Move.State.RETAINED, "")


def tables_of(database: Database, schema: str, role: str) -> dict[str, frozenset[str]]:
    """The columns of each table in a tenant's schema there, by its name."""
    with psycopg.connect(databases.provision_address(database)) as connection:
        copying.enter(connection, schema, role)
        return {table.name: frozenset(table.columns) for table in copying.tables(connection)}


def drop_old(move: Move, state: str) -> None:
    """Drop what a move kept at its old place, and the place itself if it was that tenant's alone. Repeatable."""
    if source := move.source:
        role = role_name(source.pk, move.tenant_id)
        if source.state != Database.State.DROPPING:
            schemas.drop(source, move.old_schema, role)
        if _is_nobodys(source):
            placements.drop_dedicated(source, by=move.ordered_by)
            move.source = None
    move.state = state
    move.save(update_fields=["state", "source"])


def _give_up(move: Move, state: str, error: str) -> Move:
    """Throw the copy away. The tenant has not noticed anything but a pause."""
    opened = Database.objects.filter(reserved_for=move.purpose, tenants=None).first()
    target = move.target or opened
    if target and target.state != Database.State.DROPPING:
        schemas.drop(target, move.tenant.schema_name, role_name(target.pk, move.tenant_id))
    move.target = None if opened else move.target
    if opened:
        placements.drop_dedicated(opened, by=move.ordered_by)
    move.state, move.error = state, error
    move.save(update_fields=["state", "error", "target"])
    return move


def _is_nobodys(database: Database) -> bool:
    """An opened dedicated database in which nobody lives, to which nobody is on the way, and that keeps no old copy."""
    if database.kind != Database.Kind.DEDICATED or not database.database_name or database.tenants.exists():
        return False
    if Move.objects.filter(target=database, state__in=Move.UNDER_WAY).exists():
        return False
    if database.state == Database.State.DROPPING:
        return True
    with psycopg.connect(databases.provision_address(database)) as connection:
        return connection.execute(r"select 1 from pg_namespace where nspname ~ '^t_\d+'").fetchone() is None


def _role(move: Move) -> str:
    return role_name(move.target.pk, move.tenant_id)


@contextmanager
def _alone(move: Move) -> Iterator[None]:
    """One process at a time moves a tenant; ends with the connection, also when the process is killed."""
    with placements.on_server() as server:
        if not server.execute(
            "select pg_try_advisory_lock(hashtext(%s), %s)", [f"{settings.INSTALL} move", move.tenant_id]
        ).fetchone()[0]:
            raise Conflict("Another process is moving this tenant right now.")
        yield
