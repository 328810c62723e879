"""Moves a tenant to another database."""

import json

from platform_site.amounts import megabytes
from platform_site.commands import PlatformCommand
from tenants import lifecycle, placements
from tenants.moves import orders, running, showing


class Command(PlatformCommand):
    """Move a tenant to a database of its own, or to another one. Its writes wait for the last changes only.

    A small one is copied while they wait. Progress goes to stderr.
    """

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("slug")
        place = parser.add_mutually_exclusive_group(required=True)
        place.add_argument("--to-dedicated", action="store_true", help="open a database for it alone")
        place.add_argument("--to", default="", metavar="DATABASE", help="name of a database (manage.py database list)")
        parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def work(self, *, slug, to, dry_run, **options):
        tenant, target = lifecycle.named(slug), placements.named(to) if to else None
        plan = orders.foresee(tenant, target)
        if dry_run:
            self._show(plan, options["json"], "Would move {tenant} from {from} to {to}: {tables} tables, {size}.")
            return
        if plan["notice"]:
            self.stderr.write(plan["notice"])
        move = orders.plan(tenant, target, by=self.by)
        with showing.shown(move, self.stderr):
            move = running.run(move)
        done = {"tenant": slug, "move": str(move.pk), "state": move.state, "to": move.target.name, **move.progress}
        done.pop("checks", None)
        self._show(
            plan | done,
            options["json"],
            "{tenant} lives in {to} now: {rows:,} rows, {size}, writes waited {frozen} s.\n"
            "The old copy is kept for 24 hours; until then manage.py move_back {move} returns the tenant.",
        )

    def _show(self, facts: dict, as_json: bool, text: str) -> None:
        if as_json:
            self.stdout.write(json.dumps(facts))
            return
        frozen = facts.get("seconds", {}).get("frozen")
        self.stdout.write(text.format(**facts, size=megabytes(facts["bytes"]), frozen=frozen))
        self.stdout.write("\n".join(filter(None, [facts["notice"], facts["stays"]])))
