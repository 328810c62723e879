"""Databases as places to live: made known, named, limited, checked, drained.

`openings` makes and drops those that are Atrium's own, `room` chooses among all. Platform work.
"""

import logging

import psycopg

from platform_site.errors import BadInput, Conflict, NotFound
from tenants import databases
from tenants.errors import NoAddress
from tenants.models import MOST_TENANTS, Database

logger = logging.getLogger(__name__)


def make_known(name: str, url_variable: str, **limits) -> Database:
    """A shared database that an operator has made elsewhere; the variable holds its address and login.

    limits  as for `set_limits`
    Raises  BadInput, ValidationError  as `set_limits`
            Conflict  the name is taken, the database is known already, or a login finds a fault
    """
    if Database.objects.filter(name=name).exists():
        raise Conflict(f"A database with the name “{name}” exists already.")
    row = Database(name=name, url_variable=url_variable)
    check_limits(row, **limits)
    if faults := check(row)["faults"]:
        raise Conflict(f"It was not added. {' '.join(faults)}")
    if twin := twin_of(row):
        raise Conflict(f"It was not added. It is the database “{twin.name}” by another address.")
    row.save()
    return row


def make_first_known() -> None:
    """The database of the control plane as the first one where tenants live. Repeatable."""
    Database.objects.get_or_create(name="shared_1", defaults={"url_variable": "DATABASE_URL", "may_create": True})


def named(name: str) -> Database:
    """A database by its name. Raises NotFound."""
    database = Database.objects.filter(name=name).first()
    if database is None:
        raise NotFound(f"There is no database “{name}”. See manage.py database list.")
    return database


def for_new_tenant(name: str) -> Database:
    """The database an operator chose for a new tenant. Raises NotFound, Conflict."""
    database = named(name)
    if database.kind == Database.Kind.DEDICATED:  # also while it is empty: its tenant may come back
        raise Conflict(f"“{name}” was opened for one tenant alone. Let one be opened (--dedicated or --to-dedicated).")
    if database.state != Database.State.OPEN:
        raise Conflict(f"“{name}” takes no new tenants: {database.get_state_display().lower()}.")
    if database.tenants.count() >= database.room or database.has_all_bytes:
        raise Conflict(f"“{name}” is full. Choose another with --database.")
    return database


def drain(database: Database) -> list[str]:
    """Let no new tenant in; return the slugs of those who live there."""
    if database.state not in (Database.State.OPEN, Database.State.DRAINING, Database.State.FULL):
        raise BadInput(f"“{database.name}” cannot be drained: {database.get_state_display().lower()}.")
    Database.objects.filter(pk=database.pk).update(state=Database.State.DRAINING)
    return list(database.tenants.order_by("slug").values_list("slug", flat=True))


def reopen(database: Database) -> None:
    """Let new tenants in again after `drain`. Raises BadInput: it is being opened or dropped."""
    if database.state not in (Database.State.OPEN, Database.State.DRAINING, Database.State.FULL):
        raise BadInput(f"“{database.name}” cannot be opened again: {database.get_state_display().lower()}.")
    Database.objects.filter(pk=database.pk).update(state=Database.State.OPEN)


def set_limits(database: Database, **fields) -> None:
    """Change ``region``, ``capacity_tenants``, ``capacity_bytes`` or ``may_create``. Raises BadInput, ValidationError.

    Only a shared database may have others opened beside it: a dedicated one goes with its tenant.
    """
    check_limits(database, **fields)
    if fields:
        database.save(update_fields=list(fields))


def check(database: Database) -> dict:
    """Log in as the run time does and look around: ``answers``, ``faults`` (sentences), ``bytes``, ``tenants``."""
    living = database.tenants.count() if database.pk else 0
    found = {"database": database.name, "tenants": living, "answers": True, "faults": [], "bytes": 0}
    try:
        with psycopg.connect(databases.address(database), connect_timeout=2, autocommit=True) as connection:
            found["bytes"] = connection.execute("select pg_database_size(current_database())").fetchone()[0]
            found["faults"] = _faults(connection, database)
    except NoAddress as error:
        found |= {"answers": False, "faults": [str(error)]}
    except psycopg.OperationalError as error:
        found |= {"answers": False, "faults": [f"It does not answer: {str(error).strip()}"]}
    return found


def twin_of(database: Database) -> Database | None:
    """The known database that this one is, if it is one by another name. One that does not answer is passed over."""
    for known in Database.objects.exclude(pk=database.pk).order_by("pk"):
        try:
            if databases.are_one(databases.address(database), databases.address(known)):
                return known
        except (psycopg.OperationalError, NoAddress) as error:
            logger.warning("not compared", extra={"database": known.name, "error": str(error)})
    return None


def check_limits(database: Database, **fields) -> None:
    """The same on the row alone, which need not be stored yet. Raises BadInput, ValidationError."""
    if fields.get("may_create") and database.kind != Database.Kind.SHARED:
        raise BadInput(f"“{database.name}” is one tenant's own. Mark a shared database on the same server.")
    if fields.get("capacity_tenants", 0) > MOST_TENANTS:
        raise BadInput(f"A database takes at most {MOST_TENANTS} tenants: beyond, its catalogue slows everything down.")
    if (fields.get("capacity_bytes") or 0) < 0:
        raise BadInput("A database cannot take fewer than 0 bytes.")
    for name, value in fields.items():
        setattr(database, name, value)
    database.full_clean(exclude=["sealed_password"])


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
