"""Databases that Atrium makes itself: opened with their logins, given new passwords, dropped.

They are opened on our own server, that of DATABASE_PROVISION_URL, or beside a database that an operator marked
`may_create`; our provisioning login must exist there with the same password. A run that was killed leaves a row in
state `opening`; the next one for the same purpose finishes it. All names derive from the row's id; they travel as
quoted identifiers and literals, because such statements take no parameters. Platform work.
"""

import logging
import secrets
from contextlib import AbstractContextManager

import psycopg
from django.conf import settings
from django.db import connections
from django.db.models import F, Q
from psycopg import sql

from platform_site.errors import BadInput, Conflict
from tenants import databases, placements, servers
from tenants.models import Database, Move

logger = logging.getLogger(__name__)


def open_dedicated(*, reserved_for: str, by: str) -> Database:
    """A database for exactly one tenant, with a login role of its own that alone may connect.

    reserved_for  whom it is for; a run that was killed is finished by the next for the same purpose
    """
    left = Database.objects.filter(kind=Database.Kind.DEDICATED, reserved_for=reserved_for, tenants=None)
    row = left.exclude(state=Database.State.DROPPING).first()
    return _build(row or _new_row(Database.Kind.DEDICATED, reserved_for, beside()), by)


def open_shared(*, by: str, near: Database | None = None, **limits) -> Database:
    """One more database for many tenants; ``near``: on the server of this one, else on our own.

    limits  as for `placements.set_limits`, which also says what is raised; nothing is opened then
    """
    placements.check_limits(Database(kind=Database.Kind.SHARED, name="new", url_variable="NEW"), **limits)
    with opening_alone():
        row = finish_shared(by=by, near=near)
    placements.set_limits(row, **limits)
    return row


def finish_shared(*, by: str, near: Database | None) -> Database:
    """The same for callers that are alone already (`opening_alone`)."""
    host, port = _server(near)
    opening = Database.objects.filter(kind=Database.Kind.SHARED, state=Database.State.OPENING)
    row = opening.filter(host=host, port=port).first()  # what was left on another server must not keep us from this one
    if row is None:
        with servers.connected(near):  # a row for a server that does not answer would be left over
            row = _new_row(Database.Kind.SHARED, "", near)
    return _build(row, by)


def opening_alone() -> AbstractContextManager[None]:
    """One process at a time opens shared databases; others wait."""
    return servers.alone("open shared")


def beside() -> Database | None:
    """The database on whose server the next one is opened, because an operator marked it; None if there is none."""
    return Database.objects.filter(kind=Database.Kind.SHARED, may_create=True).order_by("pk").first()


def drop_dedicated(database: Database, *, by: str) -> None:
    """Drop an empty dedicated database with its logins. Killed, the next call finishes it.

    Raises  Conflict  a tenant lives there, or it is not one that we opened
    """
    if database.kind != Database.Kind.DEDICATED or not database.database_name:
        raise Conflict(f"“{database.name}” was not opened as a dedicated database, so it is not dropped here.")
    if database.tenants.exists():
        raise Conflict(f"A tenant lives in “{database.name}”. Move it away first.")
    Database.objects.filter(pk=database.pk).update(state=Database.State.DROPPING)
    with servers.connected(database) as server:
        drop = sql.SQL("drop database if exists {}").format(sql.Identifier(database.database_name))
        try:
            server.execute(sql.SQL("{} with (force)").format(drop))
        except psycopg.errors.InsufficientPrivilege:  # somebody whom we may not send away, mostly a vacuum
            server.execute(drop)  # sends a vacuum away by itself, and gives others 5 seconds to go
        # The roles of its tenants own nothing any more
        pattern = f"^{settings.INSTALL}_d{database.pk}_(login|t_[0-9]+)$"
        for (role,) in server.execute("select rolname from pg_roles where rolname ~ %s", [pattern]).fetchall():
            server.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
    Database.objects.filter(pk=database.pk).delete()
    logger.info("database dropped", extra={"database": database.name, "by": by})


def drop_unused(database: Database, *, by: str) -> None:
    """The same on an operator's word, who may not know of a move. Raises Conflict also while one needs it."""
    moves = Move.objects.select_related("tenant")
    # in this order: one that switches between the two is seen by one of them
    if coming := moves.filter(Q(source=database) | Q(target=database), state__in=Move.UNDER_WAY).first():
        raise Conflict(f"{coming.tenant} is being moved to or from “{database.name}”. See manage.py moves.")
    if kept := moves.filter(source=database, state=Move.State.RETAINED).first():
        raise Conflict(
            f"“{database.name}” keeps the old copy of {kept.tenant}, who can still be taken back. "
            f"It is dropped with that copy on {kept.retained_until:%-d %B %Y, %H:%M} UTC."
        )
    drop_dedicated(database, by=by)


def change_password(database: Database) -> None:
    """Give a database that we opened a new password. Processes learn it within seconds, by the epoch."""
    if not database.database_name:
        raise BadInput(f"The login of “{database.name}” stands in {database.url_variable}: change it there.")
    plain = secrets.token_urlsafe(32)
    sealed = databases.sealed(database, plain)
    with servers.connected(database) as server:  # first: where that fails, the old one must go on to be known
        Database.objects.filter(pk=database.pk).update(sealed_password=sealed, epoch=F("epoch") + 1)
        _ensure_login(server, database.login_role, plain)  # after the row: killed here, the next call repairs it


def _new_row(kind: str, reserved_for: str, near: Database | None = None) -> Database:
    host, port = _server(near)
    with connections["platform"].cursor() as cursor:
        cursor.execute("select nextval(pg_get_serial_sequence('tenants_database', 'id'))")
        number = cursor.fetchone()[0]
    row = Database(
        id=number,
        name=f"{kind}_{number}",
        kind=kind,
        region=near.region if near else "",
        host=host,
        port=port,
        database_name=f"{settings.INSTALL}_{kind}_{number}",
        login_role=f"{settings.INSTALL}_d{number}_login",
        reserved_for=reserved_for,
        state=Database.State.OPENING,
    )
    row.sealed_password = databases.sealed(row, secrets.token_urlsafe(32))
    row.save(force_insert=True, using="platform")
    return row


def _server(near: Database | None) -> tuple[str, int]:
    """Where the next database is opened: beside this one, else on our own server."""
    ours = connections[databases.PROVISION].settings_dict
    host, port = databases.server_of(near) if near else (ours["HOST"] or "localhost", ours["PORT"] or 5432)
    return host, int(port)


def _build(row: Database, by: str) -> Database:
    """Login and database as the row says; each step may be repeated. Nobody can connect before the grants stand."""
    name, login = sql.Identifier(row.database_name), sql.Identifier(row.login_role)
    with servers.connected(row) as server:
        _ensure_login(server, row.login_role, databases.password(row))
        if not server.execute("select 1 from pg_database where datname = %s", [row.database_name]).fetchone():
            make = "create database {} template template0 encoding 'UTF8' allow_connections false"
            server.execute(sql.SQL(make).format(name))
        server.execute(sql.SQL("revoke all on database {} from public").format(name))
        server.execute(sql.SQL("grant connect on database {} to {}").format(name, login))
        server.execute(sql.SQL("alter database {} allow_connections true").format(name))
    with psycopg.connect(databases.provision_address(row), autocommit=True) as connection:
        connection.execute("revoke all on schema public from public")
    if row.state == Database.State.OPENING:
        row.state = Database.State.OPEN
        row.save(update_fields=["state"])
        logger.info("database opened", extra={"database": row.name, "by": by})
    return row


def _ensure_login(server, role: str, password: str) -> None:
    there = server.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone()
    statement = "{} role {} login nosuperuser nocreatedb nocreaterole password {}"
    statement = statement.replace("nosuperuser ", "") if there else statement  # only a superuser may repeat that one
    verb = sql.SQL("alter" if there else "create")
    server.execute(sql.SQL(statement).format(verb, sql.Identifier(role), sql.Literal(password)))
    # so that it can be told to hang up when its database is dropped
    provision = sql.Identifier(f"{settings.INSTALL}_provision")
    server.execute(sql.SQL("grant {} to {} with inherit true").format(sql.Identifier(role), provision))
