"""Lets a paused tenant go on."""

from django.core.management.base import BaseCommand, CommandError

from platform_site.errors import PlatformError
from tenants import lifecycle
from tenants.context import acting_for_platform


class Command(BaseCommand):
    help = "Let a paused tenant go on. Its chat answers again within 5 seconds."

    def add_arguments(self, parser):
        parser.add_argument("slug")

    def handle(self, *args, slug, **options):
        try:
            with acting_for_platform("resume a tenant"):
                tenant = lifecycle.named(slug)
                changed = lifecycle.resume(tenant, by="manage.py resume_tenant")
        except PlatformError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{tenant.name} goes on." if changed else f"{tenant.name} was not paused.")
