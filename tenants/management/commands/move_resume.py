"""Goes on with a move whose process was killed."""

from platform_site.commands import PlatformCommand
from tenants.moves import orders, running, showing


class Command(PlatformCommand):
    """Go on with a move that was interrupted, or with --cancel throw its copy away."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("move", metavar="ID", help="its id, or the end of it that manage.py moves shows")
        parser.add_argument("--cancel", action="store_true", help="all stays as it was before the move")

    def work(self, *, move, cancel, **options):
        found = orders.find(move)
        with showing.shown(found, self.stderr):
            done = orders.cancel(found, by=self.by) if cancel else running.run(found)
        self.stdout.write(f"{done.tenant}: {done.get_state_display()}.")
