"""Lists the tenants: state, plan, place, size, age, level of migrations. In this app, because it knows the plans."""

import json

from django.db import OperationalError
from django.utils import timezone

from metering.models import Subscription
from platform_site.commands import PlatformCommand
from tenants import fleet, schema_template
from tenants.models import Tenant

COLUMNS = ("slug", "state", "plan", "database", "size", "age", "schema")


class Command(PlatformCommand):
    """List all tenants. One query for the list, and one for each database where they live."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def work(self, **options):
        found = listed(self.stderr.write)
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        self._write(COLUMNS)
        for one in found:
            size = "?" if one["bytes"] is None else f"{one['bytes'] / 1e6:,.1f} MB"
            level = "current" if one["current"] else "behind"
            self._write((one["slug"], one["state"], one["plan"], one["database"], size, f"{one['days']} d", level))

    def _write(self, cells: tuple[str, ...]) -> None:
        self.stdout.write("{:<30} {:<13} {:<11} {:<16} {:>12} {:>7}  {}".format(*cells))


def listed(tell) -> list[dict]:
    """By slug. ``bytes`` is None where a database does not answer; ``tell`` is given a sentence on it."""
    plans = dict(Subscription.objects.values_list("tenant_id", "plan__code"))
    tenants = list(Tenant.objects.select_related("database").order_by("slug"))
    sizes = {database: _sizes(database, tell) for database in {tenant.database for tenant in tenants}}
    level, now = schema_template.fingerprint(), timezone.now()
    return [
        {
            "slug": tenant.slug, "name": tenant.name, "state": tenant.state, "plan": plans.get(tenant.pk, ""),
            "database": tenant.database.name, "kind": tenant.database.kind,
            "bytes": sizes[tenant.database].get(tenant.schema_name), "days": (now - tenant.created_at).days,
            "current": tenant.schema_level == level,
        }
        for tenant in tenants
    ]  # fmt: skip


def _sizes(database, tell) -> dict[str, int]:
    try:
        return fleet.sizes(database)
    except (OperationalError, KeyError):
        tell(f"The database {database.name} does not answer; see manage.py database check {database.name}.")
        return {}
