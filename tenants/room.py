"""Room for new tenants: which shared database takes the next one, and opening another before all are full.

A shared database is filling when four fifths of its room are taken, by tenants or by bytes. Platform work.
"""

import logging
from collections import defaultdict

import psycopg
from django.db.models import Count, F, QuerySet

from platform_site.errors import Conflict
from tenants import databases, openings, servers
from tenants.errors import NoAddress, TenantUnavailable
from tenants.models import Database

logger = logging.getLogger(__name__)

FILLING_PERCENT = 80  # of its room: 400 of 500 tenants
SIZES = """
select datname, pg_database_size(datname) from pg_database
where datname = any(%s) and has_database_privilege(datname, 'connect')
"""


def with_room() -> Database:
    """The shared database that takes the next tenant; where all are full, one more is opened.

    Raises  TenantUnavailable  none has room, and none may be opened
    """
    if found := _first_with_room():
        return found
    with openings.opening_alone():
        return _first_with_room() or _open_next("no room in the others")


def keep(*, by: str) -> Database | None:
    """Measure all databases, and open the next shared one when all are filling. Returns the one it opened.

    Repeatable; two at once open one only. Where none may be opened, the log warns (`no_next_database`) and `lacking`
    tells the operators.
    """
    measure()
    if not _all_are_filling():
        return None
    with openings.opening_alone():
        if not _all_are_filling():
            return None
        try:
            return _open_next(by)
        except TenantUnavailable as error:
            logger.warning(str(error), extra={"code": "no_next_database"})
    return None


def lacking() -> str:
    """What operators must know of room that runs out and cannot be made; "" while all is well."""
    if not _all_are_filling():
        return ""
    if openings.beside():
        return "All shared databases are filling. The next is opened within minutes; if not, see the worker's log."
    return (
        "All shared databases are filling, and no server is marked on which another may be opened. Mark one under "
        "Databases, or make one known with manage.py database add."
    )


def measure() -> dict[int, int]:
    """Bytes of each database that answers, by id; they are kept in its row. One query for each server."""
    by_server = defaultdict(list)
    for database in Database.objects.exclude(state__in=(Database.State.OPENING, Database.State.DROPPING)):
        try:
            by_server[databases.server_of(database)].append(database)
        except NoAddress as error:
            logger.warning("a database was not measured", extra={"database": database.name, "error": str(error)})
    found = {}
    for group in by_server.values():
        found |= _measured(group)
    return found


def percent_full(database: Database) -> int:
    """By tenants (``living``, see `counted`) or by bytes, whichever is more."""
    full = 100 * database.living // max(1, database.room)
    if database.capacity_bytes:
        full = max(full, 100 * (database.used_bytes or 0) // database.capacity_bytes)
    return full


def counted() -> QuerySet[Database]:
    """All databases with ``living``, how many tenants have their place there."""
    return Database.objects.annotate(living=counted_tenants())


def counted_tenants() -> Count:
    """What `counted` annotates."""
    return Count("tenants")


def _open() -> QuerySet[Database]:
    return counted().filter(kind=Database.Kind.SHARED, state=Database.State.OPEN).order_by("pk")


def _all_are_filling() -> bool:
    return all(percent_full(database) >= FILLING_PERCENT for database in _open())


def _first_with_room() -> Database | None:
    rows = _open().filter(living__lt=F("capacity_tenants"))
    return next((row for row in rows if row.capacity_bytes is None or _bytes_of(row) < row.capacity_bytes), None)


def _bytes_of(database: Database) -> int:
    """Measured now; one that does not answer counts as full."""
    return _measured([database]).get(database.pk, database.capacity_bytes)


def _open_next(by: str) -> Database:
    near = openings.beside()
    if near is None:
        raise TenantUnavailable(
            "No shared database has room, and no server is marked on which one may be opened. See manage.py database."
        )
    try:
        return openings.finish_shared(by=by, near=near)
    except psycopg.errors.InsufficientPrivilege:
        raise TenantUnavailable(
            "No shared database takes new tenants, and our login may not make one. Make one known with "
            "manage.py database add --name NAME --url-variable VARIABLE."
        ) from None


def _measured(group: list[Database]) -> dict[int, int]:
    """Bytes of databases on one server. Two rows may be one database there."""
    names = {database.pk: databases.name_of(database) for database in group}
    try:
        with servers.connected(group[0]) as server:
            sizes = dict(server.execute(SIZES, [list(names.values())]).fetchall())
    except (psycopg.OperationalError, Conflict) as error:
        logger.warning("databases were not measured", extra={"databases": list(names.values()), "error": str(error)})
        return {}
    found = {pk: sizes[name] for pk, name in names.items() if name in sizes}
    for pk, size in found.items():
        Database.objects.filter(pk=pk).update(used_bytes=size)
    return found
