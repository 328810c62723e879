"""What an operator asks for: plan a move, cancel it, go back, or let the old copy go. Platform work."""

import logging
import time
from datetime import timedelta
from uuid import UUID

import psycopg
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Q, TextField, Value
from django.db.models.functions import Cast, Concat, Replace
from django.utils import timezone

from platform_site.errors import BadInput, Conflict, NotFound, PlatformError
from tenants import databases, schema_template, store, tasks
from tenants.errors import NoLock
from tenants.keys import system_key
from tenants.models import AuditEvent, Database, Move, Tenant, role_name
from tenants.moves import ahead, copying, exclusion, remains, running

logger = logging.getLogger(__name__)

START = timedelta(seconds=30)  # after which an order must have been begun
RESUME_AGAIN_SECONDS = 10
RESUME_SECONDS = 30  # within which a worker begins to go on with a dead one; the clock finds it again later
ATTEMPTS_AN_HOUR = 4
CANCEL_SECONDS = 15  # far more than a mover that lives needs


def find(key: str) -> Move:
    """A move by its id, or by the end of it as `manage.py moves` shows it. Raises NotFound."""
    digits = key.replace("-", "").lower()
    written = Replace(Cast("pk", TextField()), Value("-"), Value(""), output_field=TextField())
    moves = Move.objects.select_related("tenant__database", "source", "target").annotate(digits=written)
    found = list(moves.filter(digits__endswith=digits)[:2]) if digits else []
    if len(found) != 1:
        raise NotFound(f"There is no move “{key}”, or several end so. See manage.py moves.")
    return found[0]


def foresee(tenant: Tenant, target: Database | None) -> dict:
    """What a move would do, without doing it. Raises BadInput, Conflict when it cannot be."""
    _check(tenant, target)
    with psycopg.connect(databases.provision_address(tenant.database)) as source:
        copying.enter(source, tenant.schema_name, tenant.role)
        way = ahead.way(source)
    return {
        "tenant": tenant.slug,
        "from": tenant.database.name,
        "to": target.name if target else "a new dedicated database",
        "tables": len(way.tables),
        "bytes": way.bytes,
        "way": way.kind,
        "notice": way.notice,
        "stays": "Files, search index and counters stay where they are: they are the tenant's own already.",
    }


def plan(tenant: Tenant, target: Database | None, *, by: str, undoes: Move | None = None) -> Move:
    """Order a move; ``target`` None opens a dedicated database. `running.run` carries it out.

    Raises  BadInput, Conflict  it cannot be, or another move of this tenant is under way
    """
    _check(tenant, target, returns=undoes is not None)
    move = Move(
        tenant=tenant, source=tenant.database, target=target, to_dedicated=target is None, undoes=undoes, ordered_by=by
    )
    try:
        with transaction.atomic(using="platform"):
            move.save(force_insert=True)
            _note_order(move)
    except IntegrityError:
        raise Conflict(f"{tenant} is being moved already. See manage.py moves.") from None
    return move


def carry_out(move_id: UUID) -> None:
    """What the worker does with an order. What it could not do stands in the row, and in the log."""
    move = Move.objects.select_related("tenant__database", "target").get(pk=move_id)
    try:
        running.run(move)
    except NoLock as error:
        logger.warning("move not done", extra={"move": str(move_id), "error": str(error)})
        _order_again(move)
    except (PlatformError, DatabaseError, psycopg.Error) as error:
        logger.warning("move not done", extra={"move": str(move_id), "error": str(error)})


def clear_left() -> None:
    """Throw away the copies that moves had to leave when they were given up; one that must wait stops no other."""
    for move in Move.objects.filter(**{f"progress__{remains.COPY_LEFT}": True}):
        try:
            remains.clear(move)
        except (PlatformError, DatabaseError, psycopg.Error) as error:
            logger.warning("copy not removed", extra={"move": str(move.pk), "error": str(error)})


def _order_again(move: Move) -> None:
    """The tenant's writers did not pause: another move, in a minute, some times in an hour."""
    hour = Move.objects.filter(tenant=move.tenant, created_at__gt=timezone.now() - timedelta(hours=1))
    if hour.filter(state=Move.State.FAILED).count() >= ATTEMPTS_AN_HOUR:
        _add_to_error(move, f"It is not tried again by itself: {ATTEMPTS_AN_HOUR} attempts within an hour failed.")
        return
    target = None if move.to_dedicated else move.target
    try:
        new = plan(move.tenant, target, by=move.ordered_by, undoes=move.undoes)
    except PlatformError as refusal:  # the world went on meanwhile: another has ordered, the place is full
        _add_to_error(move, f"It is not tried again by itself: {refusal}")
        return
    _add_to_error(move, f"It is tried again in {NoLock.RETRY_SECONDS} seconds, as a move of its own.")
    tasks.run_move.apply_async(kwargs={"move_id": str(new.pk)}, countdown=NoLock.RETRY_SECONDS)


def _add_to_error(move: Move, sentence: str) -> None:
    logger.warning("after a move that was not done", extra={"move": str(move.pk), "says": sentence})
    Move.objects.filter(pk=move.pk).update(error=Concat("error", Value(f"\n{sentence}"), output_field=TextField()))


def cancel(move: Move, *, by: str) -> Move:
    """Stop a move that has not switched, within seconds, also one whose process was killed. Raises Conflict."""
    order_cancel(move, by=by)
    try:
        return running.run(move)
    except Conflict:  # its process lives, and looks for our wish some times a second
        return _ended(move)


def order_cancel(move: Move, *, by: str) -> None:
    """Write down that the move shall end; whoever works on it looks for that. Raises Conflict: it has switched."""
    chosen = Move.objects.select_related("tenant", "source", "target").filter(pk=move.pk, state__in=Move.CANCELLABLE)
    found = chosen.first()
    if found is None or _may_only_go_on(found):
        raise Conflict("This move has switched or ended and can no longer be cancelled. Take the tenant back instead.")
    with transaction.atomic(using="platform"):
        if chosen.filter(cancelled=False).update(cancelled=True):
            note(move, by, "tenant.move_cancelled")


def _may_only_go_on(move: Move) -> bool:
    if move.state != Move.State.VERIFYING:
        return False
    try:
        return running.is_fenced(move)
    except psycopg.OperationalError:  # the mover will see which it is
        return False


def plan_back(move: Move, *, by: str) -> Move:
    """Order that the tenant returns with all that was written meanwhile: a move in the other direction.

    Raises  Conflict  the old copy is gone, or the tenant lives elsewhere by now
    """
    return plan(move.tenant, _way_back(move), by=by, undoes=move)


def resume_dead() -> list[Move]:
    """Let a worker go on with every move that is under way though nobody works on it; return them.

    One that was begun has had its process, and its lock ends with that; one that was only ordered may still wait.
    One that cannot be gone on with, as a server is away, is tried again after a pause: it must not fill the worker.
    """
    waits = Q(state=Move.State.PLANNED, created_at__gte=timezone.now() - START)
    under_way = Move.objects.filter(state__in=Move.UNDER_WAY).exclude(waits)
    dead = [move for move in under_way if not exclusion.is_at_work(move) and _may_be_resumed(move)]
    for move in dead:
        tasks.run_move.apply_async(kwargs={"move_id": str(move.pk)}, expires=RESUME_SECONDS)
    return dead


def _may_be_resumed(move: Move) -> bool:
    return bool(store.client().set(system_key("move resumed", move.pk), "1", nx=True, ex=RESUME_AGAIN_SECONDS))


def finish(move: Move) -> Move:
    """Drop the old copy. Raises Conflict unless the new place holds each of its tables, and nobody moves the tenant."""
    with exclusion.alone(move):
        move = Move.objects.select_related("tenant__database", "source", "target").get(pk=move.pk)
        if move.state != Move.State.RETAINED:
            raise Conflict("Only a move whose old copy is still kept can be finished.")
        if Move.objects.filter(undoes=move, state__in=Move.UNDER_WAY).exists():
            raise Conflict(f"{move.tenant} is on its way back to this copy.")
        _verify_again(move)
        remains.drop_old(move, Move.State.DONE)
    return move


def finish_due() -> list[Move]:
    """Finish all moves whose watch window is over; one that cannot be finished keeps its copy and stops no other."""
    due = Move.objects.select_related("tenant__database", "source", "target").filter(state=Move.State.RETAINED)
    return [move for move in due.filter(retained_until__lte=timezone.now()) if _finished(move)]


def note(move: Move, by: str, action: str, **details) -> None:
    """An entry in the tenant's audit trail."""
    AuditEvent.objects.create(tenant=move.tenant, actor=by, action=action, details={"move": str(move.pk)} | details)


def _note_order(move: Move) -> None:
    if move.undoes:
        note(move, move.ordered_by, "tenant.move_back_ordered", takes_back=str(move.undoes.pk))
        return
    place = move.target.name if move.target else "a database of its own"
    note(move, move.ordered_by, "tenant.move_ordered", **{"from": move.source.name, "to": place})


def _finished(move: Move) -> bool:
    try:
        finish(move)
    except (PlatformError, DatabaseError, psycopg.Error) as error:
        # a refusal or a server that is away says all in its text; a trace of ours would add nothing
        logger.error("old copy not dropped", extra={"move": str(move.pk), "error": str(error)})  # noqa: TRY400
        return False
    return True


def _ended(move: Move) -> Move:
    """The move, once the process that works on it has seen that it is cancelled."""
    deadline = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < deadline:
        move.refresh_from_db()
        if move.state not in Move.UNDER_WAY:
            return move
        time.sleep(0.1)  # the mover looks between two pieces of work, and tells nobody; only commands wait here
    raise Conflict("This move is about to switch and cannot be cancelled any more, or its process hangs. Look again.")


def _way_back(move: Move) -> Database:
    if move.state != Move.State.RETAINED or move.source is None:
        raise Conflict("Only a move whose old copy is still kept can be taken back.")
    if move.tenant.database_id != move.target_id:
        raise Conflict(f"{move.tenant} has been moved on since. Take the newest move back.")
    return move.source


def _check(tenant: Tenant, target: Database | None, *, returns: bool = False) -> None:
    if tenant.state == Tenant.State.PROVISIONING:
        raise Conflict(f"{tenant} is still being set up.")
    if tenant.state in Tenant.GONE:
        raise Conflict(f"{tenant} cannot be moved: {tenant.get_state_display().lower()}.")
    if tenant.schema_level != schema_template.fingerprint():
        raise Conflict(f"{tenant} has the schema of another release. Run manage.py deploy first.")
    if target is None:
        return
    if databases.is_same(tenant.database, target):
        raise BadInput(f"{tenant} lives in that database already.")
    if tenant.regulated and target.kind == Database.Kind.SHARED:
        raise Conflict(
            f"{tenant} is regulated: its data may not stand in a database with others'. Take the flag off first."
        )
    _check_place(target, is_kept=returns)


def _check_place(target: Database, *, is_kept: bool) -> None:
    """Whether the target takes a tenant. ``is_kept``: one that was there, and may return also while it is emptied."""
    takes = (Database.State.OPEN, Database.State.FULL, *([Database.State.DRAINING] if is_kept else []))
    if target.state not in takes:
        raise Conflict(f"“{target.name}” takes no tenants: {target.get_state_display().lower()}.")
    if target.kind == Database.Kind.DEDICATED and not is_kept:  # also while it is empty: its tenant may come back
        raise Conflict(f"“{target.name}” was opened for one tenant alone. Let one be opened with --to-dedicated.")
    has_room = target.tenants.count() < target.room and not target.has_all_bytes
    if not has_room and not (is_kept and target.kind == Database.Kind.SHARED):
        raise Conflict(f"“{target.name}” is full.")


def _verify_again(move: Move) -> None:
    """Rows may have come and gone since the switch; tables and columns may only have come."""
    if not remains.is_kept(move):
        return
    here = role_name(move.tenant.database_id, move.tenant_id)
    there = role_name(move.source.pk, move.tenant_id)
    now = running.tables_of(move.tenant.database, move.tenant.schema_name, here)
    kept = running.tables_of(move.source, move.old_schema, there)
    if missing := [name for name, columns in kept.items() if not columns <= now.get(name, frozenset())]:
        raise Conflict(
            f"{', '.join(sorted(missing))} of {move.tenant} is not whole at the new place; nothing was dropped."
        )
