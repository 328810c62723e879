"""Aliases for the databases where tenants live, added while the process runs.

A tenant is always read together with the row of its database, so whatever process meets a new row knows what it needs.
"""

import os
import secrets
from threading import Lock
from typing import TYPE_CHECKING

import psycopg
from django.conf import settings
from django.db import connections
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from platform_site import postgres
from tenants import crypto
from tenants.errors import NoAddress

if TYPE_CHECKING:
    from tenants.models import Database

PROVISION = "provision"
CONNECT_SECONDS = 5
_lock = Lock()


def ensure_alias(database: "Database") -> str:
    """The alias of a placement in its present epoch; it is made known to this process when it is new.

    An alias name is never used again: when host or password change, the epoch counts up and a new alias begins.
    """
    if database.alias not in connections.settings:
        _add(database.alias, postgres.database(address(database), "", pool_size=settings.POOL_SIZE))
    return database.alias


def ensure_provision_alias(database: "Database") -> str:
    """The alias under which the provisioning login works in this database. Platform work only."""
    if same_place(_of_provision(), conninfo_to_dict(address(database))):
        return PROVISION
    alias = f"{PROVISION}:{database.alias}"
    if alias not in connections.settings:
        _add(alias, postgres.database(provision_address(database), "pg_catalog", patient=True))
    return alias


def address(database: "Database") -> str:
    """Where it is and its login, as libpq reads it: from the row, or from the environment variable that the row names.

    Raises  NoAddress  the variable is not set, or holds something else
    """
    if database.url_variable == "DATABASE_URL":
        return settings.DATABASE_URL
    if database.url_variable:
        return _address_in(database.url_variable)
    return make_conninfo(
        settings.DATABASE_URL,  # for what it says of the line: TLS and the like
        host=database.host,
        port=database.port,
        dbname=database.database_name,
        user=database.login_role,
        password=password(database),
    )


def _address_in(variable: str) -> str:
    """What an environment variable holds. The refusal does not show it: it may be a secret meant for another."""
    found = os.environ.get(variable, "")
    try:
        known = conninfo_to_dict(found)
    except psycopg.ProgrammingError:
        known = {}
    if not known.keys() >= {"dbname", "user"}:
        raise NoAddress(f"The variable {variable} is not set in this process, or is not the address of a database.")
    return found


def provision_address(database: "Database") -> str:
    """The same place for the provisioning login, which exists once on the server."""
    place, ours = conninfo_to_dict(address(database)), connections[PROVISION].settings_dict
    login = {"user": ours["USER"], "password": ours["PASSWORD"]}
    return make_conninfo(**{"connect_timeout": CONNECT_SECONDS} | place | login)


def login_of(database: "Database") -> str:
    """The role that the run time logs in with there."""
    return conninfo_to_dict(address(database))["user"]


def is_same(one: "Database", other: "Database") -> bool:
    """Whether two rows have the same address; `are_one` asks the servers."""
    return same_place(conninfo_to_dict(address(one)), conninfo_to_dict(address(other)))


def same_place(one: dict, other: dict) -> bool:
    """Whether two addresses lead to one physical database, whatever their logins."""
    return _place(one) == _place(other)


def are_one(address: str, other: str) -> bool:
    """Whether two addresses lead to one physical database, however they are spelled: a lock taken by one shows."""
    key = secrets.randbits(62)
    patience = {"connect_timeout": CONNECT_SECONDS}
    with psycopg.connect(address, **patience) as first, psycopg.connect(other, **patience) as second:
        first.execute("select pg_advisory_xact_lock(%s)", [key])
        return not second.execute("select pg_try_advisory_xact_lock(%s)", [key]).fetchone()[0]


def server_of(database: "Database") -> tuple[str, str]:
    """Host and port of the server that it is on."""
    return _place(conninfo_to_dict(address(database)))[:2]


def name_of(database: "Database") -> str:
    """What it is called on its server."""
    return conninfo_to_dict(address(database))["dbname"]


def is_on_our_server(database: "Database") -> bool:
    """Whether it is on the server of DATABASE_PROVISION_URL."""
    return server_of(database) == _place(_of_provision())[:2]


def password(database: "Database") -> str:
    """The stored password of its login. Raises crypto.Unreadable."""
    return crypto.unseal_for_installation(bytes(database.sealed_password), bound_to=_bound_to(database)).decode()


def sealed(database: "Database", plain: str) -> bytes:
    """A password as it may stand in the row. The row needs its id before."""
    return crypto.seal_for_installation(plain.encode(), bound_to=_bound_to(database))


def _bound_to(database: "Database") -> str:
    return f"tenants_database.sealed_password|{database.pk}"


def _place(parts: dict) -> tuple:
    return parts.get("host") or "localhost", str(parts.get("port") or 5432), parts["dbname"]


def _of_provision() -> dict:
    ours = connections[PROVISION].settings_dict
    return {"host": ours["HOST"], "port": ours["PORT"], "dbname": ours["NAME"]}


def _add(alias: str, entry: dict) -> None:
    with _lock:
        # Swapped, not inserted: other threads may be iterating over the old dictionary
        connections.settings = connections.configure_settings({**connections.settings, alias: entry})
