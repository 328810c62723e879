"""All tenants as operators list them: state, plan, place, domains, size, age, level of migrations. Platform work."""

from collections import defaultdict
from collections.abc import Callable

from django.db import OperationalError
from django.utils import timezone

from metering.models import Subscription
from tenants import fleet, schema_template
from tenants.errors import NoAddress
from tenants.models import Database, Domain, Tenant


def listed(tell: Callable[[str], None]) -> list[dict]:
    """By slug. ``bytes`` is None where a database does not answer; ``tell`` is given a sentence on it.

    ``domain``: the main address; ``other_domains``: how many verified ones lead there besides
    """
    plans = dict(Subscription.objects.values_list("tenant_id", "plan__code"))
    tenants = list(Tenant.objects.select_related("database").order_by("slug"))
    sizes = {database: _sizes(database, tell) for database in {tenant.database for tenant in tenants}}
    domains = _domains()
    level, now = schema_template.fingerprint(), timezone.now()
    return [
        {
            "slug": tenant.slug, "name": tenant.name, "state": tenant.state, "plan": plans.get(tenant.pk, ""),
            "database": tenant.database.name, "kind": tenant.database.kind,
            "bytes": sizes[tenant.database].get(tenant.schema_name), "days": (now - tenant.created_at).days,
            "current": tenant.schema_level == level, **_of(domains.get(tenant.pk, [])),
        }
        for tenant in tenants
    ]  # fmt: skip


def _domains() -> dict[int, list[str]]:
    """The verified domains of each tenant, its main one first."""
    found = defaultdict(list)
    verified = Domain.objects.filter(verified_at__isnull=False).order_by("-is_primary", "domain")
    for tenant_id, domain in verified.values_list("tenant_id", "domain"):
        found[tenant_id].append(domain)
    return found


def _of(domains: list[str]) -> dict:
    return {"domain": domains[0] if domains else "", "other_domains": max(0, len(domains) - 1)}


def _sizes(database: Database, tell: Callable[[str], None]) -> dict[str, int]:
    try:
        return fleet.sizes(database)
    except (OperationalError, NoAddress):
        tell(f"The database {database.name} does not answer; see manage.py database check {database.name}.")
        return {}
