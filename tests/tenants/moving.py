"""What tests of moves share: where a tenant lives, what it has there, and what of it is anywhere."""

from uuid import uuid4

import psycopg
from django.conf import settings
from django.db import connections
from django.db.models import Count, F, QuerySet
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agents.conversations.models import EndUser
from tenants import databases, lifecycle, openings
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.models import Database, Move
from tenants.moves import copying, orders, running


def another(tenant: TenantRef) -> Database:
    """A shared database in which the tenant does not live, whatever other tests have left."""
    with acting_for_platform("a test"):
        home = home_of(tenant)
        others = [database for database in _with_room() if not databases.is_same(database, home)]
        return others[0] if others else openings.open_shared(by="a test")


def any_shared() -> Database:
    """A shared database with room, whatever other tests have left."""
    with acting_for_platform("a test"):
        return _with_room().first() or openings.open_shared(by="a test")


def _with_room() -> QuerySet[Database]:
    shared = Database.objects.filter(kind="shared", state="open").annotate(living=Count("tenants"))
    return shared.filter(living__lt=F("capacity_tenants")).order_by("-pk")


def home_of(tenant: TenantRef) -> Database:
    """Where the tenant lived when the test began."""
    with acting_for_platform("a test"):
        return Database.objects.get(name=tenant.alias.rpartition("_v")[0])


def write(tenant: TenantRef, number: int) -> list:
    """New rows; the ids of what was acknowledged."""
    with acting_for(tenant):
        return [row.pk for row in EndUser.objects.bulk_create(EndUser(secret_hash=uuid4().hex) for _ in range(number))]


def move_to(tenant: TenantRef, target: Database | None = None) -> Move:
    """Order a move and carry it out."""
    with acting_for_platform("a test"):
        return running.run(orders.plan(lifecycle.named(tenant.slug), target, by="a test"))


def content(tenant: TenantRef) -> tuple:
    """Checks of all tables and values of all sequences where the tenant lives."""
    with acting_for_platform("a test"):
        row = lifecycle.named(tenant.slug)
        with psycopg.connect(databases.provision_address(row.database)) as connection:
            copying.enter(connection, row.schema_name, row.role)
            names = [name for (name,) in connection.execute(copying.SEQUENCES)]
            values = {
                name: connection.execute(f'select last_value, is_called from "{name}"').fetchone() for name in names
            }
            checks = {table.name: copying.check(connection, table) for table in copying.tables(connection)}
            return checks, values


def traces(tenant: TenantRef) -> tuple[set, set]:
    """Where schemas of the tenant are, (database, is it the live one); and which roles it has. The first is home."""
    with acting_for_platform("a test"):
        schemas, home = set(), home_of(tenant)
        for database in Database.objects.all():
            with psycopg.connect(databases.provision_address(database)) as connection:
                found = connection.execute(
                    "select nspname from pg_namespace where nspname ~ %s", [f"^t_{tenant.id}(_[mc].*)?$"]
                ).fetchall()
                schemas |= {
                    ("home" if databases.is_same(database, home) else database.name, name == tenant.schema)
                    for (name,) in found
                }
        with connections["platform"].cursor() as cursor:
            cursor.execute(
                "select rolname from pg_roles where rolname ~ %s", [f"^{settings.INSTALL}_d[0-9]+_t_{tenant.id}$"]
            )
            return schemas, {name for (name,) in cursor.fetchall()}


def spelled_differently(address: str) -> str:
    """The address of a server on this machine by its other name."""
    there = "localhost" if conninfo_to_dict(address)["host"] != "localhost" else "127.0.0.1"
    return make_conninfo(address, host=there)


def clear(tenant) -> None:
    """Leave no database behind: a tenant that ended in one of its own goes home."""
    for connection in connections.all(initialized_only=True):
        connection.close()
    with acting_for_platform("a test"):
        row = lifecycle.named(tenant.slug)
        moves = Move.objects.filter(tenant=row, state="retained").select_related("tenant", "source", "target")
        if row.database.kind == "dedicated":
            back = running.run(orders.plan_back(moves.get(target=row.database), by="a test"))
            orders.finish(orders.find(back.pk.hex))


def opened_for_moves() -> set:
    """Databases on the server that were opened for a move and have no tenant."""
    with acting_for_platform("a test"):
        return set(
            Database.objects.filter(reserved_for__startswith="move ", tenants=None).values_list("name", flat=True)
        )
