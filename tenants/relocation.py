"""What operators order on their pages: promote, move, cancel, go back, let the old copy go. A worker carries it out.

What may be ordered says `moves.orders`, which also leaves an audit event of each order. Platform work.
"""

import logging
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from platform_site import tasks as clock_tasks
from platform_site.errors import Conflict, PlatformError, TemporaryFailure
from tenants import openings, room, tasks
from tenants.errors import QueueSilent
from tenants.models import Database, Move, Tenant
from tenants.moves import orders
from tenants.moves.ahead import AHEAD

logger = logging.getLogger(__name__)

BYTES_PER_SECOND = 40_000_000  # of a copy under lock on two cores, comparing included; measured
LEAST_SECONDS = 0.5
AHEAD_SECONDS = 2.0  # of the last changes, where the rest was copied ahead


@dataclass(frozen=True)
class Outlook:
    """What a move would do, for the page that asks whether.

    target   None: a new dedicated database
    freeze   about how many seconds writes wait
    ahead    whether it works while most is copied
    regions  of source, target and of the files and the search index, which stay; "" where nobody has said it
    """

    source: Database
    target: Database | None
    tables: int
    bytes: int
    freeze: float
    ahead: bool
    stays: str
    notice: str
    regions: tuple[str, str, str]

    @property
    def parts_regions(self) -> bool:
        """Whether the rows would stand in another region than the files and the search index."""
        _, target, files = self.regions
        return bool(target and files and target != files)


def foresee(tenant: Tenant, target: Database | None) -> Outlook:
    """What a move would do, without doing it. Needs DATABASE_PROVISION_URL.

    Raises  BadInput, Conflict  it cannot be;  TemporaryFailure  its database does not let this process look
    """
    try:
        found = orders.foresee(tenant, target)
    except (DatabaseError, psycopg.Error) as error:
        logger.warning("move not foreseen", extra={"of_tenant": tenant.pk, "error": str(error)})
        raise TemporaryFailure(f"The database of {tenant} cannot be asked now; see the web process's log.") from error
    near, ahead = target or openings.beside(), found["way"] == AHEAD
    under_lock = max(LEAST_SECONDS, round(found["bytes"] / BYTES_PER_SECOND, 1))
    return Outlook(
        source=tenant.database,
        target=target,
        tables=found["tables"],
        bytes=found["bytes"],
        freeze=AHEAD_SECONDS if ahead else under_lock,
        ahead=ahead,
        stays=found["stays"],
        notice=found["notice"],
        regions=(tenant.database.region, near.region if near else "", settings.REGION),
    )


def targets(tenant: Tenant) -> list[Database]:
    """The databases that would take this tenant, most room first; a new dedicated one is always possible beside them.

    Each with ``living``. None for a regulated tenant: a dedicated one that is there already is another's.
    """
    if tenant.regulated:
        return []
    rows = room.counted().filter(kind=Database.Kind.SHARED, state=Database.State.OPEN).exclude(pk=tenant.database_id)
    fitting = [row for row in rows if row.living < row.room and not row.has_all_bytes]
    return sorted(fitting, key=room.percent_full)


def order(tenant: Tenant, target: Database | None, *, by: str) -> Move:
    """Let a worker move the tenant; ``target`` None opens a dedicated database.

    Raises  BadInput, Conflict  it cannot be;  QueueSilent  it is ordered all the same
    """
    return _begun(orders.plan(tenant, target, by=by))


def cancel(move: Move, *, by: str) -> None:
    """Stop a move before its switch; the mover notices, or a worker cleans up after a dead one. Raises Conflict."""
    orders.order_cancel(move, by=by)
    _send(tasks.run_move, move)


def go_back(move: Move, *, by: str) -> Move:
    """Return the tenant with all that was written meanwhile: a move in the other direction.

    Raises  Conflict  the old copy is gone, the tenant lives elsewhere by now, or it may not live there any more
    """
    return _begun(orders.plan_back(move, by=by))


def finish(move: Move, *, by: str) -> None:
    """Let the old copy go before its day is over. A worker compares once more first. Raises Conflict."""
    if move.state != Move.State.RETAINED or move.source is None:
        raise Conflict("Only a move whose old copy is still kept can be finished.")
    Move.objects.filter(pk=move.pk).update(retained_until=timezone.now(), error="")
    orders.note(move, by, "tenant.move_finish_ordered")
    _send(clock_tasks.finish_move, move)


def carry_out_finish(move_id: UUID) -> None:
    """What the worker does with an order to finish. What kept it from that stands in the row."""
    move = Move.objects.select_related("tenant__database", "source", "target").get(pk=move_id)
    try:
        orders.finish(move)
    except (PlatformError, DatabaseError, psycopg.Error) as error:
        logger.warning("old copy not removed", extra={"move": str(move_id), "error": str(error)})
        Move.objects.filter(pk=move_id, state=Move.State.RETAINED).update(error=str(error))


def is_on_its_way_to_share(tenant: Tenant) -> bool:
    """Whether it is being moved into a database that others share."""
    under_way = Move.objects.filter(tenant=tenant, state__in=Move.UNDER_WAY)
    return under_way.filter(target__kind=Database.Kind.SHARED).exists()


def is_finishing(move: Move) -> bool:
    """Whether its old copy may go, and has not gone yet."""
    return move.state == Move.State.RETAINED and bool(move.retained_until) and move.retained_until <= timezone.now()


def _begun(move: Move) -> Move:
    transaction.on_commit(partial(_send, tasks.run_move, move), using="platform")
    return move


def _send(task: tasks.PlatformTask, move: Move) -> None:
    try:
        task.order(move_id=str(move.pk))
    except QueueSilent as error:  # the clock finds what is written down
        raise QueueSilent(f"{error} The order is written down and is carried out once a worker is there.") from error
