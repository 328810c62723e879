"""Takes a move back."""

from django.core.management.base import BaseCommand, CommandError

from platform_site.errors import PlatformError
from tenants.context import acting_for_platform
from tenants.moves import orders


class Command(BaseCommand):
    help = "Return a tenant to where it was before a move, with all that was written meanwhile."

    def add_arguments(self, parser):
        parser.add_argument("move", metavar="ID", help="its id, or the end of it that manage.py moves shows")

    def handle(self, *args, move, **options):
        try:
            with acting_for_platform("take a move back"):
                done = orders.go_back(orders.find(move), by="manage.py move_back")
        except PlatformError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{done.tenant} lives in {done.target.name} again.")
