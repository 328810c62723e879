"""Brings the schemas of all tenants up to this release."""

import json
import time

from django.core.management.base import CommandError

from platform_site.commands import PlatformCommand
from tenants import fleet


class Command(PlatformCommand):
    """Migrate the tenants that are behind; run it again after a failure. `manage.py deploy` does it as well."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--plan", action="store_true", help="only say which tenants are behind")
        parser.add_argument("--canary", nargs="+", default=[], metavar="SLUG", help="first these; stop if one fails")
        parser.add_argument("--workers", type=int, default=fleet.WORKERS, help="how many tenants at once")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def work(self, *, plan, canary, workers, **options):
        if not 1 <= workers <= 32:
            raise CommandError("--workers: from 1 to 32.")
        if plan:
            self._show_plan(options["json"])
            return
        started = time.monotonic()
        run = fleet.migrate(canaries=canary, workers=workers, told=self.progress)
        self.show(run, time.monotonic() - started, as_json=options["json"])

    def _show_plan(self, as_json: bool) -> None:
        waiting = [{"tenant": tenant.slug, "database": tenant.database.name} for tenant in fleet.behind()]
        if as_json:
            self.stdout.write(json.dumps({"behind": waiting}))
            return
        for one in waiting:
            self.stdout.write(f"{one['tenant']:<40} {one['database']}")
        self.stdout.write(f"{len(waiting)} tenants are behind.")

    def progress(self, run: fleet.Run) -> None:
        """One line that changes, where somebody looks."""
        if self.stderr.isatty():
            done = len(run.migrated) + len(run.failed)
            end = "\n" if done == run.total else "\r"
            self.stderr.write(f"{done} of {run.total} tenants, {len(run.failed)} failed", ending=end)

    def show(self, run: fleet.Run, seconds: float, *, as_json: bool) -> None:
        """What came of it; ends with 1 when a tenant failed."""
        if as_json:
            failed = [{"tenant": one.slug, "error": one.error} for one in run.failed]
            facts = {"level": run.level, "current": run.current, "migrated": run.migrated, "failed": failed}
            self.stdout.write(json.dumps({**facts, "stopped": run.stopped, "seconds": round(seconds, 2)}))
        else:
            self.stdout.write(f"{run.current} tenants were current, {len(run.migrated)} were migrated.")
        if run.failed:
            raise CommandError(run.trouble())
