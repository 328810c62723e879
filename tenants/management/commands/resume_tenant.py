"""Lets a paused tenant go on."""

from platform_site.commands import PlatformCommand
from tenants import lifecycle


class Command(PlatformCommand):
    """Let a paused tenant go on. Its chat answers again within 5 seconds."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("slug")

    def work(self, *, slug, **options):
        tenant = lifecycle.named(slug)
        changed = lifecycle.resume(tenant, by=self.by)
        self.stdout.write(f"{tenant.name} goes on." if changed else f"{tenant.name} was not paused.")
