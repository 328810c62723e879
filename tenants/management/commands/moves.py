"""The moves of tenants between databases."""

import json

from platform_site.commands import PlatformCommand
from tenants.models import Move
from tenants.moves import orders

SHOWN = 50


class Command(PlatformCommand):
    """List the newest moves, or drop the old copies whose time is over."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--finish-due", action="store_true", help="drop old copies that were kept long enough")
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def work(self, *, finish_due, **options):
        finished = orders.finish_due() if finish_due else []
        moves = Move.objects.select_related("tenant", "source", "target").order_by("-created_at")[:SHOWN]
        rows = [self._row(move) for move in moves]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for move in finished:
            self.stdout.write(f"The old copy of {move.tenant} was dropped.")
        for row in rows:
            self.stdout.write("{id}  {tenant:<24} {from:<14} -> {to:<14} {state:<12} {step} {error}".format(**row))

    def _row(self, move: Move) -> dict:
        return {
            "id": move.pk.hex[-12:],
            "tenant": move.tenant.slug,
            "from": move.source.name if move.source else "(dropped)",
            "to": move.target.name if move.target else "(dedicated)",
            "state": move.state,
            "step": move.progress.get("step", ""),
            "error": move.error,
        }
