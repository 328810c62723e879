"""How long `migrate_fleet` and `tenants` take over a fleet, most of it rows without schemas, some of it real.

    python -m tests.load.fleet [--tenants 60] [--real 4]

Run it on a database of its own. Its rows are removed at the end; the real tenants stay.
"""

import argparse
import io
import os
import time
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
MARK = "bench-fleet-"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=60)
    parser.add_argument("--real", type=int, default=4)
    options = parser.parse_args()
    django.setup()

    from django.core.management import call_command

    from tenants import provisioning
    from tenants.context import acting_for_platform
    from tenants.models import Tenant

    call_command("deploy", stdout=io.StringIO())
    made = [f"{MARK}{uuid4().hex[:8]}" for _ in range(options.real)]
    real = [
        provisioning.create(name=name, slug=name, vertical="healthcare", plan="pro", by="a benchmark") for name in made
    ]
    with acting_for_platform("benchmark"):
        model = Tenant.objects.get(pk=real[0].pk)
        rows = [copied(model, number) for number in range(options.tenants)]
        Tenant.objects.bulk_create(rows)
    try:
        timed(f"migrate_fleet, nothing to do, {options.tenants} rows more", "migrate_fleet")
        timed("tenants", "tenants")
        with acting_for_platform("benchmark"):
            Tenant.objects.filter(pk__in=[tenant.pk for tenant in real]).update(schema_level="older")
        seconds = timed(f"migrate_fleet, {options.real} tenants whose rows are behind", "migrate_fleet")
        print(f"{1000 * seconds / options.real:.0f} ms each")  # noqa: T201
    finally:
        with acting_for_platform("benchmark"):
            Tenant.objects.filter(pk__in=[row.pk for row in rows]).delete()


def copied(model, number: int):
    """A row like the model's, of a tenant that has no schema."""
    from tenants.models import Tenant

    name = f"{MARK}{uuid4().hex[:12]}"
    return Tenant(
        name=name, slug=name, schema_name=f"none_{uuid4().hex[:12]}_{number}", state=model.state,
        database_id=model.database_id, schema_level=model.schema_level, wrapped_key=model.wrapped_key,
    )  # fmt: skip


def timed(what: str, command: str) -> float:
    """Run a command and print how long it took."""
    from django.core.management import call_command

    started = time.perf_counter()
    call_command(command, stdout=io.StringIO())
    seconds = time.perf_counter() - started
    print(f"{what}: {seconds:.2f} s")  # noqa: T201
    return seconds


if __name__ == "__main__":
    main()
