"""What the steps of a move share: where it stands, what it works with, the lock, and a look at the operator's wish."""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from psycopg import Connection, errors

from platform_site.errors import Conflict
from tenants import fleet
from tenants.errors import MoveCancelled, NoLock
from tenants.models import Move, Tenant
from tenants.moves import bulk, copying
from tenants.moves.copying import Table

logger = logging.getLogger(__name__)

LOCK_ATTEMPTS = 5
LOCK_MS = 2_000
BEFORE = ("opening", "emptying", "preparing")
AHEAD = ("noting", "syncing", "following")  # of large tenants
LOCKED = ("locking", "copying", "comparing", "committing", "fencing")
AFTER = ("switching", "settling", "ending")
# In this order; tests kill a move at each of them
STEPS = (*BEFORE, *AHEAD, *LOCKED, *AFTER)


class Between(NamedTuple):
    """A move and what it works with. ``source`` and ``target`` are the connections whose commits decide.

    tables  as they were when the move began; nobody may change them meanwhile
    bare    what was taken away from the target's tables until they are filled
    """

    move: Move
    ours: bulk.End
    theirs: bulk.End
    source: Connection
    target: Connection
    lines: bulk.Lines
    tables: list[Table]
    bare: copying.Bare


def reach(move: Move, state: str, step: str, **progress) -> None:
    """Write down where the move stands, before the step is done."""
    move.state, move.progress = state, {**move.progress, "step": step, "reached": state, **progress}
    move.save(update_fields=["state", "progress", "target"])


def refuse_if_cancelled(move: Move) -> None:
    """Raises MoveCancelled once an operator has cancelled."""
    if Move.objects.filter(pk=move.pk, cancelled=True).exists():
        raise MoveCancelled("The move was cancelled. Nothing was changed.")


def copy_all(at: Between, state: str, step: str, snapshot: str) -> dict[str, copying.Check]:
    """Fill the target with what the snapshot shows, and compare. Shows progress; ends when cancelled."""
    shown = time.monotonic()

    def look(tally: bulk.Tally) -> None:
        nonlocal shown
        refuse_if_cancelled(at.move)
        if time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            reach(at.move, state, step, **tally.as_progress())

    at.move.progress["copy_began"] = round(time.time(), 3)
    tally, checks = at.lines.copy(at.tables, at.bare.indexes, snapshot, look)
    at.theirs.enter(at.target)
    copying.restore_keys(at.target, at.bare.keys)
    at.move.progress |= tally.as_progress() | {"copy_ended": round(time.time(), 3)}
    return checks


def lock(at: Between, mode: str, again: Callable[[], None] = lambda: None) -> None:
    """Make the tenant's writers wait. Bounded: those that queue behind us must not wait long.

    again   called before each attempt but the first
    Raises  NoLock; Conflict  somebody has changed the tables themselves
    """
    for attempt in range(LOCK_ATTEMPTS):
        if attempt:
            time.sleep(0.2 * attempt)
            again()
        try:
            _lock(at, mode)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            at.source.rollback()
            logger.info("move waits for writers", extra={"move": str(at.move.pk), "attempt": attempt + 1})
        else:
            return
    tenant = at.move.tenant
    raise NoLock(
        f"{tenant} was written to without a pause. Nothing was changed; try again later.",
        retry_after=NoLock.RETRY_SECONDS,
    )


def _lock(at: Between, mode: str) -> None:
    at.ours.enter(at.source)
    at.source.execute("select set_config('lock_timeout', %s, true)", [f"{LOCK_MS}ms"])
    at.source.execute(f"select pg_advisory_xact_lock({fleet.SCHEMA_LOCK})", [at.move.tenant_id])
    copying.lock(at.source, at.tables, mode)
    migrated = Tenant.objects.filter(pk=at.move.tenant_id).exclude(schema_level=at.move.tenant.schema_level).exists()
    if migrated or [table.shape for table in copying.tables(at.source)] != [table.shape for table in at.tables]:
        raise Conflict(f"The tables of {at.move.tenant} were changed during the move. Order it again.")
