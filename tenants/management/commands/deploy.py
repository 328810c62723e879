"""Brings the databases up to this release."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import connections

from tenants import fleet, placements, registry, rowsecurity, schema_template
from tenants.context import acting_for_platform


class Command(BaseCommand):
    """Migrate the control plane and all tenants, apply grants and row security. Safe to repeat, and at once twice."""

    help = __doc__

    def handle(self, *args, **options):
        if "owner" not in connections:
            raise CommandError("DATABASE_OWNER_URL is not set: only the owner may change the control plane.")
        with acting_for_platform("deploy"), _alone(connections["owner"]):
            call_command("migrate", database="owner", interactive=False, verbosity=0)
            for upgrade in registry.upgrades().values():
                upgrade(connections["owner"])
            rowsecurity.apply(connections["owner"])
            placements.make_first_known()
            schema_template.ensure()
            run = fleet.migrate()
        self.stdout.write(f"Control plane is current; {len(run.migrated)} tenants were migrated.")
        if run.failed:
            raise CommandError(run.trouble())


@contextmanager
def _alone(connection) -> Iterator[None]:
    """One deploy at a time; others wait. Ends with the connection, also by a kill."""
    name = f"{settings.INSTALL} deploy"
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(hashtext(%s), 0)", [name])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(hashtext(%s), 0)", [name])
