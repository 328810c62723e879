"""Proves that nothing leads from one tenant to another."""

import json
import sys

from django.core.management.base import CommandError

from platform_site.commands import PlatformCommand
from tenants.isolation import checking
from tenants.isolation.attempts import REFUSED
from tenants.models import IsolationCheck

LEAKED, INCOMPLETE = 1, 2


class Command(PlatformCommand):
    """Try to get from each tenant to a synthetic one and back: rows, SQL, cache, files, vectors, queue.

    Ends with 1 if anything leaked, with 2 if something could not be tried.
    """

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("slug", nargs="*", help="tenants to check; all by default")
        parser.add_argument("--json", action="store_true", help="print one JSON array with every attempt")

    def work(self, *, slug, **options):
        found = [(tenant, self._checked(tenant, options["json"])) for tenant in self._chosen(slug)]
        if options["json"]:
            self.stdout.write(json.dumps([result.as_dict(tenant.slug) for tenant, result in found]))
        elif not found:
            self.stdout.write("There is no tenant to check yet.")
        if any(result.leaked for _, result in found):
            sys.exit(LEAKED)
        if not all(result.ok for _, result in found):
            sys.exit(INCOMPLETE)

    def _chosen(self, slugs: list[str]) -> list:
        known = {tenant.slug: tenant for tenant in checking.customers()}
        unknown = [slug for slug in slugs if slug not in known]
        if unknown:
            raise CommandError(f"There is no tenant to check with the slug “{unknown[0]}”. Leave it out to check all.")
        return [known[slug] for slug in slugs] if slugs else list(known.values())

    def _checked(self, tenant, quiet: bool) -> IsolationCheck:
        """One tenant's result, shown at once: with many, the first shall not wait for the last."""
        result = checking.check(tenant)
        if quiet:
            return result
        self.stdout.write(
            f"{tenant.slug:<40} {result.verdict:<10} {len(result.attempts):>3} attempts {result.seconds:>6.2f} s"
        )
        for attempt in result.attempts:
            if attempt["outcome"] != REFUSED:
                self.stdout.write(
                    f"  {attempt['outcome']}: {attempt['code']}, {attempt['by']} against {attempt['against']}\n"
                    f"    {attempt['text']}\n    {attempt['detail']}"
                )
        return result
