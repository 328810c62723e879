"""Takes a move back."""

from platform_site.commands import PlatformCommand
from tenants.moves import orders


class Command(PlatformCommand):
    """Return a tenant to where it was before a move, with all that was written meanwhile."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("move", metavar="ID", help="its id, or the end of it that manage.py moves shows")

    def work(self, *, move, **options):
        done = orders.go_back(orders.find(move), by=self.by)
        self.stdout.write(f"{done.tenant} lives in {done.target.name} again.")
