"""Lists the tenants: state, plan, place, size, age, level of migrations, domains. Here, for the plans."""

import json

from metering import tenant_list
from platform_site.amounts import megabytes
from platform_site.commands import PlatformCommand

COLUMNS = ("slug", "state", "plan", "database", "size", "age", "schema", "domains")


class Command(PlatformCommand):
    """List all tenants. One query for the list, and one for each database where they live."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def work(self, **options):
        found = tenant_list.listed(self.stderr.write)
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        self._write(COLUMNS)
        for one in found:
            size = "?" if one["bytes"] is None else megabytes(one["bytes"])
            level = "current" if one["current"] else "behind"
            more = f" and {one['other_domains']} more" if one["other_domains"] else ""
            place = (one["slug"], one["state"], one["plan"], one["database"])
            self._write((*place, size, f"{one['days']} d", level, f"{one['domain']}{more}"))

    def _write(self, cells: tuple[str, ...]) -> None:
        self.stdout.write("{:<30} {:<13} {:<11} {:<16} {:>12} {:>7}  {:<8} {}".format(*cells))
