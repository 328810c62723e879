"""Lists the domains of the tenants' own."""

import json

from platform_site.commands import PlatformCommand
from tenants import domains

COLUMNS = ("domain", "tenant", "state", "checked", "problem")


class Command(PlatformCommand):
    """List the domains that tenants claim or hold, with what the last look into the DNS found."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--tenant", default="", metavar="SLUG", help="only this tenant's")
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def work(self, *, tenant, **options):
        found = domains.listed(tenant)
        if options["json"]:
            self.stdout.write(json.dumps([domains.as_dict(claim) for claim in found]))
        elif not found:
            self.stdout.write("There is none. Begin with manage.py add_domain.")
        else:
            self._write(COLUMNS)
            for claim in found:
                checked = f"{claim.checked_at:%Y-%m-%d %H:%M}" if claim.checked_at else "never"
                self._write((claim.name, claim.tenant.slug, claim.state, checked, claim.problem or "none"))

    def _write(self, cells: tuple[str, ...]) -> None:
        self.stdout.write("{:<40} {:<30} {:<9} {:<16} {}".format(*cells))
