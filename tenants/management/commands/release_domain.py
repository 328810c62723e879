"""Takes a domain of its own from a tenant."""

from platform_site.commands import PlatformCommand
from tenants import domains


class Command(PlatformCommand):
    """End a tenant's claim on a host name. It leads nowhere within 5 seconds; claimed again, it is proved anew."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("host")
        parser.add_argument("--tenant", default="", metavar="SLUG", help="whose claim, if several wait for the name")

    def work(self, *, host, tenant, **options):
        claim = domains.find(host, tenant)
        domains.release(claim, by=self.by)
        self.stdout.write(f"{claim.name} does not belong to {claim.tenant.slug} any more.")
