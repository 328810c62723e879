"""Pauses a tenant."""

from django.core.management.base import BaseCommand, CommandError

from platform_site.errors import PlatformError
from tenants import lifecycle
from tenants.context import acting_for_platform


class Command(BaseCommand):
    help = "Pause a tenant: its chat says so, its portal shows why, nothing can be written. Nothing is removed."

    def add_arguments(self, parser):
        parser.add_argument("slug")
        parser.add_argument("--reason", required=True, help="the tenant's staff read it on every page")

    def handle(self, *args, slug, reason, **options):
        try:
            with acting_for_platform("suspend a tenant"):
                tenant = lifecycle.named(slug)
                changed = lifecycle.suspend(tenant, by="manage.py suspend_tenant", reason=reason)
        except PlatformError as error:
            raise CommandError(str(error)) from None
        if changed:
            self.stdout.write(f"{tenant.name} is paused. Its open chats are closed within 5 seconds.")
        else:
            self.stdout.write(f"{tenant.name} was paused already.")
