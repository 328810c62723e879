"""Takes a move back."""

from platform_site.commands import PlatformCommand
from tenants.moves import orders, running, showing


class Command(PlatformCommand):
    """Return a tenant to where it was before a move, with all that was written meanwhile."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("move", metavar="ID", help="its id, or the end of it that manage.py moves shows")

    def work(self, *, move, **options):
        back = orders.plan_back(orders.find(move), by=self.by)
        with showing.shown(back, self.stderr):
            done = running.run(back)
        self.stdout.write(f"{done.tenant} lives in {done.target.name} again.")
