"""Brings the databases up to this release."""

from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import connections

from tenants import fleet, placements, registry, rowsecurity, schema_template, servers
from tenants.context import acting_for_platform


class Command(BaseCommand):
    """Migrate the control plane and all tenants, apply grants and row security. Safe to repeat, and at once twice."""

    help = __doc__

    def handle(self, *args, **options):
        if "owner" not in connections:
            raise CommandError("DATABASE_OWNER_URL is not set: only the owner may change the control plane.")
        with acting_for_platform("deploy"), servers.alone("deploy", waiting=self._say_waiting):
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

    def _say_waiting(self) -> None:
        self.stdout.write("Another deploy is running: waiting for it to end.")
        self.stdout.flush()
