"""Three demo tenants, once."""

import json

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from platform_site import demo


class Command(BaseCommand):
    """Make three demo tenants with staff, an agent and documents. Prints one JSON object; progress on stderr."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--wait", type=int, default=90, help="seconds to wait for the documents; 0 for none")

    def handle(self, *args, **options):
        if not settings.DEMO:
            raise CommandError("Demo tenants with printed logins are for DEBUG only. Use create_tenant.")
        result = demo.seed(lambda line: self.stderr.write(line), wait_seconds=options["wait"])
        self.stdout.write(json.dumps(result))
