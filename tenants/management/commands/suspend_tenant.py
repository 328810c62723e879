"""Pauses a tenant."""

from platform_site.commands import PlatformCommand
from tenants import lifecycle


class Command(PlatformCommand):
    """Pause a tenant: its chat says so, its portal shows why, nothing can be written. Nothing is removed."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("slug")
        parser.add_argument("--reason", required=True, help="the tenant's staff read it on every page")

    def work(self, *, slug, reason, **options):
        tenant = lifecycle.named(slug)
        changed = lifecycle.suspend(tenant, by=self.by, reason=reason)
        if changed:
            self.stdout.write(f"{tenant.name} is paused. Its open chats are closed within 5 seconds.")
        else:
            self.stdout.write(f"{tenant.name} was paused already.")
