"""Databases as places to live: opened on our own server, chosen for a tenant, checked, drained, dropped.

A run that was killed leaves a row in state `opening`; the next one for the same purpose finishes it. All names derive
from the row's id. Platform work.
"""

import logging
import secrets
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.db import connections
from django.db.models import Count, F
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from platform_site.errors import BadInput, Conflict, NotFound
from tenants import databases
from tenants.errors import TenantUnavailable
from tenants.models import Database

logger = logging.getLogger(__name__)


def open_dedicated(*, reserved_for: str, by: str) -> Database:
    """A database for exactly one tenant, with a login role of its own that alone may connect.

    reserved_for  whom it is for; a run that was killed is finished by the next for the same purpose
    """
    left = Database.objects.filter(kind=Database.Kind.DEDICATED, reserved_for=reserved_for, tenants=None)
    row = left.exclude(state=Database.State.DROPPING).first() or _new_row(Database.Kind.DEDICATED, reserved_for)
    return _build(row, by)


def open_shared(*, by: str) -> Database:
    """One more database for many tenants on our own server."""
    left = Database.objects.filter(kind=Database.Kind.SHARED, state=Database.State.OPENING).first()
    return _build(left or _new_row(Database.Kind.SHARED, ""), by)


def drop_dedicated(database: Database, *, by: str) -> None:
    """Drop an empty dedicated database with its logins. Killed, the next call finishes it.

    Raises  Conflict  a tenant lives there, or it is not one that we opened
    """
    if database.kind != Database.Kind.DEDICATED or not database.database_name:
        raise Conflict(f"“{database.name}” was not opened as a dedicated database, so it is not dropped here.")
    if database.tenants.exists():
        raise Conflict(f"A tenant lives in “{database.name}”. Move it away first.")
    Database.objects.filter(pk=database.pk).update(state=Database.State.DROPPING)
    with on_server() as server:
        server.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database.database_name))
        )
        # The roles of its tenants own nothing any more
        pattern = f"^{settings.INSTALL}_d{database.pk}_(login|t_[0-9]+)$"
        for (role,) in server.execute("select rolname from pg_roles where rolname ~ %s", [pattern]).fetchall():
            server.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
    Database.objects.filter(pk=database.pk).delete()
    logger.info("database dropped", extra={"database": database.name, "by": by})


def with_room() -> Database:
    """The shared database that takes the next tenant; where all are full, a new one on our own server.

    Raises  TenantUnavailable  our login may not make databases there
    """
    shared = Database.objects.filter(kind=Database.Kind.SHARED, state=Database.State.OPEN)
    room = shared.annotate(living=Count("tenants")).filter(living__lt=F("capacity_tenants")).order_by("pk").first()
    if room:
        return room
    try:
        return open_shared(by="no room in the others")
    except psycopg.errors.InsufficientPrivilege:
        raise TenantUnavailable(
            "No shared database takes new tenants, and our login may not make one. Make one known with "
            "manage.py database add --name NAME --url-variable VARIABLE."
        ) from None


def named(name: str) -> Database:
    """A database by its name. Raises NotFound."""
    database = Database.objects.filter(name=name).first()
    if database is None:
        raise NotFound(f"There is no database “{name}”. See manage.py database list.")
    return database


def for_new_tenant(name: str) -> Database:
    """The database an operator chose for a new tenant. Raises NotFound, Conflict."""
    database = named(name)
    if database.state != Database.State.OPEN:
        raise Conflict(f"“{name}” takes no new tenants: {database.get_state_display().lower()}.")
    if database.tenants.count() >= database.room:
        raise Conflict(f"“{name}” is full. Choose another with --database.")
    return database


def drain(database: Database) -> list[str]:
    """Let no new tenant in; return the slugs of those who live there."""
    if database.state not in (Database.State.OPEN, Database.State.DRAINING, Database.State.FULL):
        raise BadInput(f"“{database.name}” cannot be drained: {database.get_state_display().lower()}.")
    Database.objects.filter(pk=database.pk).update(state=Database.State.DRAINING)
    return list(database.tenants.order_by("slug").values_list("slug", flat=True))


def change_password(database: Database) -> None:
    """Give a database that we opened a new password. Processes learn it within seconds, by the epoch."""
    if not database.database_name:
        raise BadInput(f"The login of “{database.name}” stands in {database.url_variable}: change it there.")
    plain = secrets.token_urlsafe(32)
    sealed = databases.sealed(database, plain)
    Database.objects.filter(pk=database.pk).update(sealed_password=sealed, epoch=F("epoch") + 1)
    with on_server() as server:  # after the row: killed here, the next call repairs it
        _ensure_login(server, database.login_role, plain)


def check(database: Database) -> dict:
    """Log in as the run time does and look around: ``answers``, ``faults`` (sentences), ``bytes``, ``tenants``."""
    living = database.tenants.count() if database.pk else 0
    found = {"database": database.name, "tenants": living, "answers": True, "faults": [], "bytes": 0}
    try:
        with psycopg.connect(databases.address(database), connect_timeout=2, autocommit=True) as connection:
            found["bytes"] = connection.execute("select pg_database_size(current_database())").fetchone()[0]
            found["faults"] = _faults(connection, database)
    except KeyError:
        found |= {"answers": False, "faults": [f"The variable {database.url_variable} is not set in this process."]}
    except psycopg.OperationalError as error:
        found |= {"answers": False, "faults": [f"It does not answer: {str(error).strip()}"]}
    return found


def _faults(connection, database: Database) -> list[str]:
    may_all, above = connection.execute(
        "select has_database_privilege('public', current_database(), 'connect'), rolsuper or rolbypassrls"
        " from pg_roles where rolname = current_user"
    ).fetchone()
    faults = []
    if may_all and database.kind == Database.Kind.DEDICATED:
        faults.append("Every login of the server may connect. Revoke CONNECT from PUBLIC.")
    if above:
        faults.append("Its login is a superuser or passes row security. Use an ordinary role.")
    return faults


def _new_row(kind: str, reserved_for: str) -> Database:
    place = connections[databases.PROVISION].settings_dict
    with connections["platform"].cursor() as cursor:
        cursor.execute("select nextval(pg_get_serial_sequence('tenants_database', 'id'))")
        number = cursor.fetchone()[0]
    row = Database(
        id=number,
        name=f"{kind}_{number}",
        kind=kind,
        host=place["HOST"] or "localhost",
        port=int(place["PORT"] or 5432),
        database_name=f"{settings.INSTALL}_{kind}_{number}",
        login_role=f"{settings.INSTALL}_d{number}_login",
        reserved_for=reserved_for,
        state=Database.State.OPENING,
    )
    row.sealed_password = databases.sealed(row, secrets.token_urlsafe(32))
    row.save(force_insert=True, using="platform")
    return row


def _build(row: Database, by: str) -> Database:
    """Login and database as the row says; each step may be repeated. Nobody can connect before the grants stand."""
    name, login = sql.Identifier(row.database_name), sql.Identifier(row.login_role)
    with on_server() as server:
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


@contextmanager
def on_server():
    """The provisioning login outside any transaction: databases cannot be made inside one."""
    ours = connections[databases.PROVISION].settings_dict
    place = conninfo_to_dict(settings.DATABASE_URL) | {"dbname": ours["NAME"], "host": ours["HOST"] or "localhost"}
    place |= {"user": ours["USER"], "password": ours["PASSWORD"], "port": ours["PORT"] or 5432}
    with psycopg.connect(**place, autocommit=True) as connection:
        yield connection
