"""The steps of a move. Killed at any line, `run` goes on from what it finds: facts decide, not the last written state.

The fence is the rename of the old schema, in the transaction that makes writers wait: before it the old place is the
truth and the copy can be thrown away; after it only going on is possible. Source: architecture, section 10.
"""

import logging
import time
from datetime import timedelta

import psycopg
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone
from psycopg import Connection

from platform_site.errors import Conflict, PlatformError
from tenants import databases, directory, openings, schema_template, schemas
from tenants.context import learn_move
from tenants.errors import MoveCancelled
from tenants.models import AuditEvent, Database, Move, Tenant, role_name
from tenants.moves import ahead, bulk, changes, copying, exclusion, remains, steps

logger = logging.getLogger(__name__)

WATCH = timedelta(hours=24)


def run(move: Move) -> Move:
    """Bring a move to its end, from whatever point it has reached. Platform work.

    Raises  Conflict      another process is at work on this tenant
            NoLock        the tenant's writers did not pause; all is as before, and it may be ordered again
            CopyDiffers, MoveCancelled   all is as before
    """
    with exclusion.alone(move):
        move = Move.objects.select_related("tenant__database", "source", "target", "undoes").get(pk=move.pk)
        if move.state not in Move.UNDER_WAY:
            return move
        if move.cancelled and move.state == Move.State.PLANNED:
            return remains.end(move, Move.State.ROLLED_BACK, "")
        if move.state != Move.State.SWITCHED:
            if not is_fenced(move):
                if move.cancelled:
                    return remains.give_up(move, Move.State.ROLLED_BACK, "")
                _try(move)
            _switch(move)
        _settle(move)
    return move


def is_fenced(move: Move) -> bool:
    """Whether the old schema has been renamed: from then on the copy is the truth."""
    if move.target is None or move.state == Move.State.PLANNED:  # nothing was begun: no server need be asked
        return False
    with psycopg.connect(databases.provision_address(move.source)) as source:
        return schemas.is_there(source.cursor(), move.old_schema)


def _try(move: Move) -> None:
    try:
        _prepare(move)
        _copy(move)
    except MoveCancelled:
        remains.give_up(move, Move.State.ROLLED_BACK, "")
        raise
    except (PlatformError, DatabaseError, psycopg.Error) as error:
        if not is_fenced(move):  # else the answer to the last commit was lost, not the commit
            remains.give_up(move, Move.State.FAILED, str(error))
            raise


def _prepare(move: Move) -> None:
    """An empty schema of this release at the target; what an earlier attempt left goes."""
    steps.reach(move, Move.State.PREPARING, "opening")
    if move.target is None:
        move.target = openings.open_dedicated(reserved_for=move.purpose, by=move.ordered_by)
    steps.reach(move, Move.State.PREPARING, "emptying")
    _refuse_twins(move.source, move.target)
    changes.end(databases.provision_address(move.source), move.log_schema)
    schemas.drop(move.target, move.tenant.schema_name, _role(move))
    if move.tenant.schema_level != schema_template.fingerprint():
        raise Conflict(f"{move.tenant} has the schema of another release. Run manage.py deploy first.")
    steps.reach(move, Move.State.PREPARING, "preparing")
    schemas.make(move.target, move.tenant.schema_name, _role(move))


def _refuse_twins(source: Database, target: Database) -> None:
    """Two rows may say one place in two ways: what is emptied there would be the tenant itself."""
    if databases.are_one(databases.provision_address(source), databases.provision_address(target)):
        raise Conflict(f"“{source.name}” and “{target.name}” are one database by two addresses. Nothing was changed.")


def _copy(move: Move) -> None:
    """Copy, ahead of the lock or under it; compare, commit the copy, put up the fence."""
    ours = bulk.End(databases.provision_address(move.source), move.tenant.schema_name, move.tenant.role)
    theirs = bulk.End(databases.provision_address(move.target), move.tenant.schema_name, _role(move))
    with (
        psycopg.connect(ours.address) as source,
        psycopg.connect(theirs.address) as target,
        bulk.lines(ours, theirs) as lines,
    ):
        way = _choose_way(move, source, ours)
        theirs.enter(target)
        bare = copying.strip(target, way.tables)
        target.commit()
        at = steps.Between(move, ours, theirs, source, target, lines, way.tables, bare)
        if way.kind == ahead.AHEAD:
            _move_ahead(at)
        else:
            _move_locked(at)


def _choose_way(move: Move, source: Connection, ours: bulk.End) -> ahead.Way:
    ours.enter(source)
    way = ahead.way(source)
    source.rollback()
    if way.notice:
        logger.warning("writes wait for the whole copy", extra={"move": str(move.pk), "reason": way.notice})
    move.progress = {"way": way.kind, "notice": way.notice}
    return way


def _move_ahead(at: steps.Between) -> None:
    def follow() -> None:
        ahead.follow(at)
        steps.reach(at.move, Move.State.FROZEN, "locking")

    ahead.copy(at)
    follow()
    steps.lock(at, "share", again=follow)
    began = time.monotonic()
    steps.reach(at.move, Move.State.FROZEN, "copying")
    ahead.drain(at)
    copying.copy_sequences(at.source, at.target)
    copied = time.monotonic()
    steps.reach(at.move, Move.State.VERIFYING, "comparing")
    ahead.compare(at)
    _let_go(at, began, copied)


def _move_locked(at: steps.Between) -> None:
    steps.reach(at.move, Move.State.FROZEN, "locking")
    steps.lock(at, "share")
    began = time.monotonic()
    steps.reach(at.move, Move.State.FROZEN, "copying")
    snapshot = at.source.execute("select pg_export_snapshot()").fetchone()[0]
    checks = steps.copy_all(at, Move.State.FROZEN, "copying", snapshot)
    copying.copy_sequences(at.source, at.target)
    copied = time.monotonic()
    steps.reach(at.move, Move.State.VERIFYING, "comparing", checks=bulk.as_progress(checks))
    _let_go(at, began, copied)


def _let_go(at: steps.Between, began: float, copied: float) -> None:
    compared = time.monotonic()
    steps.refuse_if_cancelled(at.move)
    steps.reach(at.move, Move.State.VERIFYING, "committing")
    at.target.commit()
    steps.reach(at.move, Move.State.VERIFYING, "fencing")
    _fence(at.move, at.source)
    at.source.commit()
    seconds = {"copy": copied - began, "compare": compared - copied, "frozen": time.monotonic() - began}
    at.move.progress["seconds"] = {name: round(value, 3) for name, value in seconds.items()}


def _fence(move: Move, source: Connection) -> None:
    """Rename the old schema: whoever waited to write there finds no table, so nothing is written where it is lost."""
    role, provision = move.tenant.role, f"{settings.INSTALL}_provision"
    source.execute("reset role")
    source.execute(f"grant {role} to {provision} with inherit true, set true")  # renaming asks for owner and database
    source.execute(f"alter schema {move.tenant.schema_name} rename to {move.old_schema}")
    source.execute(f"grant {role} to {provision} with inherit false, set true")


def _switch(move: Move) -> None:
    """The directory says the new place; processes that still have the old one fail there and look again."""
    steps.reach(move, Move.State.VERIFYING, "switching")
    before = move.tenant.ref()
    with transaction.atomic(using="platform"):
        Tenant.objects.filter(pk=move.tenant_id).update(database=move.target)
        steps.reach(move, Move.State.SWITCHED, "switching")
    directory.forget()
    move.tenant.database = Database.objects.get(pk=move.target_id)  # its password may be new
    learn_move(before, move.tenant.ref())
    steps.reach(move, Move.State.SWITCHED, "settling")


def _settle(move: Move) -> None:
    """What can wait until writers go on; the end of the move that this one undoes; an entry in the audit trail."""
    changes.end(databases.provision_address(move.source), move.log_schema)
    with psycopg.connect(databases.provision_address(move.target)) as target:
        copying.enter(target, move.tenant.schema_name, _role(move))
        copying.check_keys(target)
        copying.analyze(target, copying.tables(target))
    if move.undoes:
        remains.drop_old(move.undoes, Move.State.ROLLED_BACK)
    steps.reach(move, Move.State.SWITCHED, "ending")
    details = {"move": str(move.pk), "from": move.source.name, "to": move.target.name}
    with transaction.atomic(using="platform"):
        AuditEvent.objects.create(tenant=move.tenant, actor=move.ordered_by, action="tenant.moved", details=details)
        move.retained_until = timezone.now() + WATCH
        move.save(update_fields=["retained_until"])
        steps.reach(move, Move.State.RETAINED, "")


def tables_of(database: Database, schema: str, role: str) -> dict[str, frozenset[str]]:
    """The columns of each table in a tenant's schema there, by its name."""
    with psycopg.connect(databases.provision_address(database)) as connection:
        copying.enter(connection, schema, role)
        return {table.name: frozenset(table.columns) for table in copying.tables(connection)}


def _role(move: Move) -> str:
    return role_name(move.target.pk, move.tenant_id)
