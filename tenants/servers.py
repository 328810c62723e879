"""The servers that hold databases, as the provisioning login sees them. Platform work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from platform_site import postgres
from platform_site.errors import Conflict
from tenants import databases
from tenants.errors import NoAddress
from tenants.models import Database


@contextmanager
def connected(of: Database | None = None) -> Iterator[psycopg.Connection]:
    """The provisioning login outside any transaction (databases cannot be made inside one).

    of  on the server of this database, connected to another one there; else on our own
    """
    place = _ours() if of is None or databases.is_on_our_server(of) else _elsewhere(of)
    patience = {"connect_timeout": databases.CONNECT_SECONDS, **postgres.VANISHED}
    with psycopg.connect(**patience | place, autocommit=True) as connection:
        yield connection


@contextmanager
def alone(purpose: str, *, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """One process at a time works for this purpose; others wait. Ends with the connection, also by a kill.

    waiting  is called if it has to wait
    """
    name = [f"{settings.INSTALL} {purpose}"]
    with connected() as server:  # whose statements have no time limit
        if not server.execute("select pg_try_advisory_lock(hashtext(%s), 0)", name).fetchone()[0]:
            waiting()
            server.execute("select pg_advisory_lock(hashtext(%s), 0)", name)
        yield


def _ours() -> dict:
    ours = connections[databases.PROVISION].settings_dict
    place = conninfo_to_dict(settings.DATABASE_URL) | {"dbname": ours["NAME"], "host": ours["HOST"] or "localhost"}
    return place | {"user": ours["USER"], "password": ours["PASSWORD"], "port": ours["PORT"] or 5432}


def _elsewhere(of: Database) -> dict:
    """A database that is sure to stay: one that we did not open, and whose server was made known to us by it."""
    server = databases.server_of(of)
    known = Database.objects.filter(kind=Database.Kind.SHARED, database_name="").order_by("pk")
    for database in known:
        try:
            if databases.server_of(database) == server:
                return conninfo_to_dict(databases.provision_address(database))
        except NoAddress:  # of another server, as far as this process can tell
            continue
    raise Conflict(f"No database on the server of “{of.name}” is known from which another could be opened or dropped.")
