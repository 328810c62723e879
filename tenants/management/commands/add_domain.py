"""Begins a domain of a tenant's own."""

import json

from platform_site.commands import PlatformCommand
from tenants import domains, lifecycle
from tenants.models import DomainClaim


class Command(PlatformCommand):
    """Claim a host name for a tenant, and say which DNS records its owner has to set.

    The name leads to the tenant once its record has been seen. Run again, it says the same records again.
    """

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("slug")
        parser.add_argument("host", help="e.g. chat.example.com")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def work(self, *, slug, host, **options):
        claim = domains.claim(lifecycle.named(slug), host, by=self.by)
        if options["json"]:
            self.stdout.write(json.dumps(domains.as_dict(claim)))
            return
        self.stdout.write(f"{claim.name} of {slug}: {claim.get_state_display()}.")
        for step in domains.steps(claim):
            self.stdout.write(step)
        if claim.state == DomainClaim.State.WAITING:
            self.stdout.write(
                f"It is looked for every 10 minutes for {domains.WAIT_DAYS} days, and at once by "
                f"manage.py verify_domain {claim.name}"
            )
