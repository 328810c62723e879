"""What an operator asks for: plan a move, cancel it, go back, or let the old copy go. Platform work."""

import logging
from functools import partial
from uuid import UUID

import psycopg
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from platform_site.errors import BadInput, Conflict, NotFound, PlatformError
from tenants import databases, schema_template, tasks
from tenants.models import Database, Move, Tenant, role_name
from tenants.moves import running

logger = logging.getLogger(__name__)

SIZE = """
select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint, count(*)
from pg_class where relnamespace = to_regnamespace(%s) and relkind = 'r'
"""


def find(key: str) -> Move:
    """A move by its id, or by the end of it as `manage.py moves` shows it. Raises NotFound."""
    moves = Move.objects.select_related("tenant__database", "source", "target")
    try:
        found = [move for move in moves.order_by("-created_at")[:1000] if move.pk.hex.endswith(key)]
        found = found or list(moves.filter(pk=UUID(key)))
    except ValueError:
        found = []
    if len(found) != 1 or not key:
        raise NotFound(f"There is no move “{key}”. See manage.py moves.")
    return found[0]


def foresee(tenant: Tenant, target: Database | None) -> dict:
    """What a move would do, without doing it. Raises BadInput, Conflict when it cannot be."""
    _check(tenant, target)
    alias = databases.ensure_provision_alias(tenant.database)
    with connections[alias].cursor() as cursor:
        cursor.execute(SIZE, [tenant.schema_name])
        size, tables = cursor.fetchone()
    return {
        "tenant": tenant.slug,
        "from": tenant.database.name,
        "to": target.name if target else "a new dedicated database",
        "tables": tables,
        "bytes": size,
        "stays": "Files, search index and counters stay where they are: they are the tenant's own already.",
    }


def plan(tenant: Tenant, target: Database | None, *, by: str, undoes: Move | None = None) -> Move:
    """Order a move; ``target`` None opens a dedicated database. `running.run` carries it out.

    Raises  BadInput, Conflict  it cannot be, or another move of this tenant is under way
    """
    _check(tenant, target)
    move = Move(
        tenant=tenant, source=tenant.database, target=target, to_dedicated=target is None, undoes=undoes, ordered_by=by
    )
    try:
        with transaction.atomic(using="platform"):
            move.save(force_insert=True)
    except IntegrityError:
        raise Conflict(f"{tenant} is being moved already. See manage.py moves.") from None
    return move


def order(tenant: Tenant, target: Database | None, *, by: str, undoes: Move | None = None) -> Move:
    """Plan a move and let a worker carry it out, once the row is committed. Raises as `plan` does."""
    move = plan(tenant, target, by=by, undoes=undoes)
    transaction.on_commit(partial(tasks.run_move.delay, move_id=str(move.pk)), using="platform")
    return move


def carry_out(move_id: UUID) -> None:
    """What the worker does with an order. What it could not do stands in the row, and in the log."""
    move = Move.objects.get(pk=move_id)
    try:
        running.run(move)
    except (PlatformError, psycopg.Error) as error:
        logger.warning("move not done", extra={"move": str(move_id), "error": str(error)})


def cancel(move: Move) -> Move:
    """Stop a move that has not switched, also one whose process was killed. Raises Conflict."""
    if move.state not in Move.UNDER_WAY or running.is_fenced(move):
        raise Conflict("This move has switched or ended. To return the tenant, use manage.py move_back.")
    Move.objects.filter(pk=move.pk).update(cancelled=True)
    return running.run(move)


def go_back(move: Move, *, by: str) -> Move:
    """Bring the tenant back with all that was written meanwhile: a move in the other direction.

    Raises  Conflict  the old copy is gone, or the tenant lives elsewhere by now
    """
    if move.state != Move.State.RETAINED or move.source is None:
        raise Conflict("Only a move whose old copy is still kept can be taken back.")
    if move.tenant.database_id != move.target_id:
        raise Conflict(f"{move.tenant} has been moved on since. Take the newest move back.")
    return running.run(plan(move.tenant, move.source, by=by, undoes=move))


def finish(move: Move) -> Move:
    """Drop the old copy. Raises Conflict unless the new place holds each of its tables."""
    if move.state != Move.State.RETAINED:
        raise Conflict("Only a move whose old copy is still kept can be finished.")
    _verify_again(move)
    running.drop_old(move, Move.State.DONE)
    return move


def finish_due() -> list[Move]:
    """Finish all moves whose watch window is over."""
    due = Move.objects.select_related("tenant__database", "source", "target").filter(state=Move.State.RETAINED)
    return [finish(move) for move in due.filter(retained_until__lte=timezone.now())]


def _check(tenant: Tenant, target: Database | None) -> None:
    if tenant.state == Tenant.State.PROVISIONING:
        raise Conflict(f"{tenant} is still being set up.")
    if tenant.schema_level != schema_template.fingerprint():
        raise Conflict(f"{tenant} has the schema of another release. Run manage.py deploy first.")
    if target is None:
        return
    if databases.is_same(tenant.database, target):
        raise BadInput(f"{tenant} lives in that database already.")
    if target.state not in (Database.State.OPEN, Database.State.FULL, Database.State.DRAINING):
        raise Conflict(f"“{target.name}” takes no tenants: {target.get_state_display().lower()}.")
    if target.tenants.count() >= target.room:
        raise Conflict(f"“{target.name}” is full.")


def _verify_again(move: Move) -> None:
    """Rows may have come and gone since the switch; tables and columns may only have come."""
    if move.source is None:
        return
    here = role_name(move.tenant.database_id, move.tenant_id)
    there = role_name(move.source.pk, move.tenant_id)
    now = running.tables_of(move.tenant.database, move.tenant.schema_name, here)
    kept = running.tables_of(move.source, move.old_schema, there)
    if missing := [name for name, columns in kept.items() if not columns <= now.get(name, frozenset())]:
        raise Conflict(
            f"{', '.join(sorted(missing))} of {move.tenant} is not whole at the new place; nothing was dropped."
        )
