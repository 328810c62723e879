"""What a move leaves behind: the copy of one that was given up, the old place of one that is over."""

import logging

import psycopg
from django.db import DatabaseError, connections

from platform_site.errors import PlatformError
from tenants import databases, openings, schemas
from tenants.models import Database, Move, role_name
from tenants.moves import changes, exclusion

logger = logging.getLogger(__name__)

COPY_LEFT = "copy_left"  # in the progress of a move that was given up while its target did not answer


def drop_old(move: Move, state: str) -> None:
    """Drop what a move kept at its old place, and the place itself if it was that tenant's alone. Repeatable."""
    if source := move.source:
        role = role_name(source.pk, move.tenant_id)
        if source.state != Database.State.DROPPING:
            schemas.drop(source, move.old_schema, role)
        if _is_nobodys(source):
            openings.drop_dedicated(source, by=move.ordered_by)
            move.source = None
    move.state, move.error = state, ""  # an earlier try may have left one
    move.save(update_fields=["state", "source", "error"])


def is_kept(move: Move) -> bool:
    """Whether the old copy is there. What dropped it may have been killed before it dropped the rest."""
    source = move.source
    if source is None or source.state == Database.State.DROPPING:
        return False
    with connections[databases.ensure_provision_alias(source)].cursor() as cursor:
        return schemas.is_there(cursor, move.old_schema)


def give_up(move: Move, state: str, error: str) -> Move:
    """Throw the copy away. The tenant has not noticed anything but a pause.

    A target that does not answer keeps nobody from another move: its copy is noted, and goes later (`clear`).
    """
    changes.end(databases.provision_address(move.source), move.log_schema)
    try:
        _throw_copy_away(move)
    except (PlatformError, DatabaseError, psycopg.Error) as fault:
        logger.warning("copy not removed", extra={"move": str(move.pk), "error": str(fault)})
        move.progress[COPY_LEFT] = True
        error = f"{error.strip()}\nThe copy at the new place could not be removed yet; that is tried again.".strip()
    return end(move, state, error)


def end(move: Move, state: str, error: str) -> Move:
    """Write down what became of a move that leaves nothing behind."""
    move.state, move.error = state, error
    move.save(update_fields=["state", "error", "target", "progress"])
    return move


def clear(move: Move) -> None:
    """Throw away the copy that a move left when it was given up. Raises Conflict: the tenant is being moved."""
    with exclusion.alone(move):
        move = Move.objects.select_related("tenant__database", "source", "target").get(pk=move.pk)
        if move.target is None or move.tenant.database_id != move.target_id:  # else a later move emptied it before
            _throw_copy_away(move)
        move.progress.pop(COPY_LEFT, None)
        move.save(update_fields=["target", "progress"])


def _throw_copy_away(move: Move) -> None:
    opened = Database.objects.filter(reserved_for=move.purpose, tenants=None).first()
    target = move.target or opened
    if target and target.state != Database.State.DROPPING:
        schemas.drop(target, move.tenant.schema_name, role_name(target.pk, move.tenant_id))
    if opened:
        openings.drop_dedicated(opened, by=move.ordered_by)
        move.target = None


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
