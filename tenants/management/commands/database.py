"""The places where tenants can live."""

import json

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from platform_site.amounts import megabytes
from platform_site.commands import PlatformCommand
from tenants import openings, placements, room
from tenants.models import Database

COLUMNS = "{:<20} {:<10} {:>11} {:>12} {:>12}  {:<12} {}"
ON_ONE = {
    "check": "log in and look",
    "drain": "let no new tenant in",
    "reopen": "let new tenants in again",
    "drop": "drop an empty dedicated one",
    "new_password": "give its login a new password",
}
YES = {"yes": True, "no": False}


class Command(PlatformCommand):
    """List the databases where tenants live, add one, set its limits, check one, or drain one."""

    help = __doc__

    def add_arguments(self, parser):
        commands = parser.add_subparsers(dest="action", required=True)
        commands.add_parser("list", help="all databases, with how full they are").add_argument(
            "--json", action="store_true", help="print one JSON array"
        )
        add = commands.add_parser("add", help="open a shared database on our server, or make one elsewhere known")
        add.add_argument("--name", default="", help="with --url-variable: what it is to be called")
        add.add_argument("--url-variable", default="", help="environment variable that holds its address and login")
        add.add_argument("--shared", action="store_true", help="open a new one on our own server")
        add.add_argument("--near", default="", metavar="DATABASE", help="with --shared: on the server of this one")
        change = commands.add_parser("set", help="change how much a database takes, and what may be opened beside it")
        change.add_argument("name")
        for parser in (add, change):
            self._add_limits(parser)
        for action, text in ON_ONE.items():
            commands.add_parser(action, help=text).add_argument("name")

    def _add_limits(self, parser):
        parser.add_argument("--region")
        parser.add_argument("--capacity-tenants", type=int, metavar="N", help="at most 500")
        parser.add_argument("--capacity-bytes", type=int, metavar="BYTES", help="0: no limit")
        parser.add_argument("--may-create", choices=YES, help="whether new databases may be opened on its server")

    def work(self, *, action, **options):
        try:
            getattr(self, f"do_{action}")(options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None

    def do_list(self, options):
        """One line for each."""
        sizes, rows = room.measure(), room.counted().order_by("pk")
        if options["json"]:
            keys = ("name", "kind", "region", "state", "epoch", "room", "capacity_bytes", "may_create")
            more = [{"tenants": row.living, "bytes": sizes.get(row.pk)} for row in rows]
            found = [{key: getattr(row, key) for key in keys} for row in rows]
            self.stdout.write(json.dumps([one | other for one, other in zip(found, more, strict=True)]))
            return
        self.stdout.write(COLUMNS.format("database", "kind", "tenants", "size", "at most", "region", "state"))
        for row in rows:
            self._line(row, sizes.get(row.pk))

    def _line(self, row: Database, size: int | None):
        state = row.get_state_display() + (", others may be opened beside it" if row.may_create else "")
        living = f"{row.living} of {row.room}"
        now = "?" if size is None else megabytes(size)
        most = "-" if row.capacity_bytes is None else megabytes(row.capacity_bytes)
        self.stdout.write(COLUMNS.format(row.name, row.kind, living, now, most, row.region or "-", state))

    def do_add(self, options):
        """A new row, and the database behind it where it is ours to make."""
        if options["shared"]:
            near = placements.named(options["near"]) if options["near"] else None
            row = openings.open_shared(by=self.by, near=near, **_limits(options))
        elif options["name"] and options["url_variable"]:
            row = placements.make_known(options["name"], options["url_variable"], **_limits(options))
        else:
            raise CommandError("Say --shared, or --name and --url-variable.")
        self.stdout.write(f"{row.name} takes tenants.")

    def do_set(self, options):
        """How much it takes, where it is, and whether others may be opened beside it."""
        row = placements.named(options["name"])
        placements.set_limits(row, **_limits(options))
        self.stdout.write(f"{row.name} is changed.")

    def do_check(self, options):
        """What a login finds; ends with 1 when something is wrong."""
        found = placements.check(placements.named(options["name"]))
        if found["faults"]:
            raise CommandError(f"{found['database']}: " + " ".join(found["faults"]))
        self.stdout.write(f"{found['database']} answers: {found['tenants']} tenants, {megabytes(found['bytes'])}.")

    def do_drain(self, options):
        """No new tenants; says who still lives there."""
        left = placements.drain(placements.named(options["name"]))
        self.stdout.write(f"{options['name']} takes no new tenants. Living there: {', '.join(left) or 'nobody'}.")

    def do_reopen(self, options):
        """What drain has closed."""
        placements.reopen(placements.named(options["name"]))
        self.stdout.write(f"{options['name']} takes tenants again, as many as it has room for.")

    def do_drop(self, options):
        """An empty dedicated one that no move needs."""
        openings.drop_unused(placements.named(options["name"]), by=self.by)
        self.stdout.write(f"{options['name']} is dropped.")

    def do_new_password(self, options):
        """A new one, in use at once."""
        openings.change_password(placements.named(options["name"]))
        self.stdout.write(f"{options['name']} has a new password; running processes may need 5 seconds to learn it.")


def _limits(options: dict) -> dict:
    """What was said; what was not stays as it is."""
    said = {key: options[key] for key in ("region", "capacity_tenants", "capacity_bytes") if options[key] is not None}
    if options["may_create"]:
        said["may_create"] = YES[options["may_create"]]
    return said | ({"capacity_bytes": said["capacity_bytes"] or None} if "capacity_bytes" in said else {})
