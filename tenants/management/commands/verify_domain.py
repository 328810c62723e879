"""Looks for a domain's proof now."""

import json
import sys

from platform_site.commands import PlatformCommand
from tenants import domains
from tenants.models import DomainClaim


class Command(PlatformCommand):
    """Look for the DNS record of a claimed host name now, and act on it. Ends with 1 if it is not proved."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("host", help="as given to add_domain")
        parser.add_argument("--tenant", default="", metavar="SLUG", help="whose claim, if several wait for the name")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def work(self, *, host, tenant, **options):
        claim = domains.check(domains.find(host, tenant))
        if options["json"]:
            self.stdout.write(json.dumps(domains.as_dict(claim)))
        else:
            self._tell(claim)
        if claim.state != DomainClaim.State.VERIFIED or claim.problem:
            sys.exit(1)

    def _tell(self, claim: DomainClaim) -> None:
        self.stdout.write(f"{claim.name} of {claim.tenant.slug}: {claim.get_state_display()}.")
        if claim.problem:
            self.stdout.write(claim.problem)
        for step in domains.steps(claim):
            self.stdout.write(step)
