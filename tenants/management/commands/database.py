"""The places where tenants can live."""

import json

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models import Count

from platform_site.commands import PlatformCommand
from tenants import placements
from tenants.models import Database


class Command(PlatformCommand):
    """List the databases where tenants live, add one, check one, or drain one."""

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
        add.add_argument("--region", default="")
        for action, text in (("check", "log in and look"), ("drain", "let no new tenant in"), ("drop", "drop an empty"
                             " dedicated one"), ("new_password", "give its login a new password")):  # fmt: skip
            commands.add_parser(action, help=text).add_argument("name")

    def work(self, *, action, **options):
        try:
            getattr(self, f"do_{action}")(options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None

    def do_list(self, options):
        """One line for each."""
        rows = Database.objects.annotate(living=Count("tenants")).order_by("pk")
        if options["json"]:
            keys = ("name", "kind", "region", "state", "epoch")
            shown = [
                {key: getattr(row, key) for key in keys} | {"tenants": row.living, "room": row.room} for row in rows
            ]
            self.stdout.write(json.dumps(shown))
            return
        for row in rows:
            self.stdout.write(
                f"{row.name:<20} {row.kind:<10} {row.living:>4} of {row.room:<4} {row.get_state_display()}"
            )

    def do_add(self, options):
        """A new row, and the database behind it where it is ours to make."""
        if options["shared"]:
            row = placements.open_shared(by=self.by)
        elif options["name"] and options["url_variable"]:
            row = self._known(options)
        else:
            raise CommandError("Say --shared, or --name and --url-variable.")
        self.stdout.write(f"{row.name} takes tenants.")

    def _known(self, options) -> Database:
        if Database.objects.filter(name=options["name"]).exists():
            raise CommandError(f"A database with the name “{options['name']}” exists already.")
        row = Database(name=options["name"], url_variable=options["url_variable"], region=options["region"])
        if (found := placements.check(row))["faults"]:
            raise CommandError("It was not added. " + " ".join(found["faults"]))
        row.full_clean(exclude=["sealed_password"])
        row.save()
        return row

    def do_check(self, options):
        """What a login finds; ends with 1 when something is wrong."""
        found = placements.check(placements.named(options["name"]))
        if found["faults"]:
            raise CommandError(f"{found['database']}: " + " ".join(found["faults"]))
        self.stdout.write(f"{found['database']} answers: {found['tenants']} tenants, {found['bytes'] / 1e6:,.1f} MB.")

    def do_drain(self, options):
        """No new tenants; says who still lives there."""
        left = placements.drain(placements.named(options["name"]))
        self.stdout.write(f"{options['name']} takes no new tenants. Living there: {', '.join(left) or 'nobody'}.")

    def do_drop(self, options):
        """An empty dedicated one."""
        placements.drop_dedicated(placements.named(options["name"]), by=self.by)
        self.stdout.write(f"{options['name']} is dropped.")

    def do_new_password(self, options):
        """A new one, in use at once."""
        placements.change_password(placements.named(options["name"]))
        self.stdout.write(f"{options['name']} has a new password; running processes may need 5 seconds to learn it.")
