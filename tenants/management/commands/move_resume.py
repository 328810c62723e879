"""Goes on with a move whose process was killed."""

from django.core.management.base import BaseCommand, CommandError

from platform_site.errors import PlatformError
from tenants.context import acting_for_platform
from tenants.moves import orders, running


class Command(BaseCommand):
    help = "Go on with a move that was interrupted, or with --cancel throw its copy away."

    def add_arguments(self, parser):
        parser.add_argument("move", metavar="ID", help="its id, or the end of it that manage.py moves shows")
        parser.add_argument("--cancel", action="store_true", help="all stays as it was before the move")

    def handle(self, *args, move, cancel, **options):
        try:
            with acting_for_platform("resume a move"):
                found = orders.find(move)
                done = orders.cancel(found) if cancel else running.run(found)
        except PlatformError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{done.tenant}: {done.get_state_display()}.")
