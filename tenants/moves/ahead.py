"""Large tenants are copied while they work: rows first, then what was written meanwhile, at last under the lock."""

import time
from typing import NamedTuple

import psycopg
from django.conf import settings
from psycopg import Connection, IsolationLevel

from tenants.errors import CopyDiffers
from tenants.models import Move
from tenants.moves import bulk, changes, copying, steps
from tenants.moves.copying import Table
from tenants.moves.steps import Between

AHEAD, LOCK = "ahead", "lock"  # the two ways to copy
ROUNDS = 20
SIZE = """
select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'
"""
SHORT_ROUND_SECONDS = 0.3


class Way(NamedTuple):
    """How a tenant will be copied.

    kind    ``ahead`` or ``lock``; small ones are copied under the lock, which is over sooner than all else
    notice  why writes wait for all of it although the tenant is large; else empty
    bytes   of its tables with all that belongs to them
    """

    kind: str
    notice: str
    tables: list[Table]
    bytes: int


def way(source: Connection) -> Way:
    """How the tenant whose schema was entered will be copied."""
    tables, size = copying.tables(source), source.execute(SIZE).fetchone()[0]
    if size < settings.MOVE_AHEAD_BYTES:
        return Way(LOCK, "", tables, size)
    if reason := changes.hindrance(source, tables):
        text = f"Writes wait until everything is copied: {reason}, so changes cannot be followed."
        return Way(LOCK, text, tables, size)
    return Way(AHEAD, "", tables, size)


def copy(at: Between) -> None:
    """The target holds everything, compared, but for what was written in the last moment. Nobody has waited."""
    steps.reach(at.move, Move.State.COPYING, "noting")
    steps.lock(at, "share row exclusive")
    changes.begin(at.source, at.tables, at.move.log_schema, at.ours.role)
    at.source.commit()
    steps.reach(at.move, Move.State.COPYING, "syncing")
    with psycopg.connect(at.ours.address) as seeing:
        seeing.isolation_level = IsolationLevel.REPEATABLE_READ
        snapshot = seeing.execute("select pg_export_snapshot()").fetchone()[0]
        checks = steps.copy_all(at, Move.State.COPYING, "syncing", snapshot)
    at.target.commit()
    at.theirs.enter(at.target)
    copying.check_keys(at.target)
    copying.analyze(at.target, at.tables)
    at.target.commit()
    at.move.progress["checks"] = bulk.as_progress(checks)


def follow(at: Between) -> None:
    """Carry what was written meanwhile, until little is left."""
    steps.reach(at.move, Move.State.COPYING, "following")
    for _ in range(ROUNDS):
        steps.refuse_if_cancelled(at.move)
        began = time.monotonic()
        if not _round(at) or time.monotonic() - began < SHORT_ROUND_SECONDS:
            return


def drain(at: Between) -> None:
    """Carry the rest, under the lock."""
    at.theirs.enter(at.target)
    changes.carry(at.source, at.target, at.tables, at.move.log_schema)


def compare(at: Between) -> None:
    """The number of all rows, and each row that was written since the snapshot, whose rows were compared before."""
    if found := changes.differing(at.source, at.target, at.tables, at.move.log_schema):
        raise CopyDiffers(f"The copy of {', '.join(found)} differs. It was thrown away.")


def _round(at: Between) -> int:
    """One carrying of all that is noted by now; killed between the commits, the same is carried again."""
    with psycopg.connect(at.ours.address) as seeing:
        seeing.isolation_level = IsolationLevel.REPEATABLE_READ
        at.ours.enter(seeing)
        at.theirs.enter(at.target)
        number = changes.carry(seeing, at.target, at.tables, at.move.log_schema)
        at.target.commit()
        seeing.commit()
    return number
