"""Makes a tenant that can be used at once."""

import json

from platform_site.commands import PlatformCommand
from tenants import names, provisioning
from tenants.accounts import first_owner, invitations


class Command(PlatformCommand):
    """Create a tenant: schema, address, agent, and an invitation for its owner."""

    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("name")
        parser.add_argument("--vertical", required=True, choices=["healthcare", "real_estate", "it_support"])
        parser.add_argument("--plan", required=True, help="free, pro or enterprise")
        parser.add_argument("--slug", default="", help="its part of the address; made from the name by default")
        parser.add_argument("--owner-email", default="", help="who is invited; owner@<address> by default")
        parser.add_argument("--time-zone", default="UTC")
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--database", default="", help="name of the database it shall live in (manage.py database)")
        place.add_argument("--dedicated", action="store_true", help="open a database of its own for it")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def work(self, *, name, vertical, plan, slug, owner_email, time_zone, **options):
        if owner_email:
            invitations.check_address(owner_email)
        tenant = first_owner.awaited(name, by=self.by) or provisioning.create(
            name=name,
            slug=slug,
            vertical=vertical,
            plan=plan,
            time_zone=time_zone,
            database=options["database"],
            dedicated=options["dedicated"],
            by=self.by,
        )
        host = names.host_for(tenant.slug)
        invited = first_owner.invite(tenant, email=owner_email or f"owner@{host}")
        result = {
            "tenant": tenant.name,
            "url": f"{names.address(host)}/",
            "chat_url": f"{names.address(host)}/chat/",
            "invitation": invited.link,
        }
        self._show(result, invited.is_mailed, as_json=options["json"])
        first_owner.was_told(tenant, by=self.by)

    def _show(self, result: dict, is_mailed: bool, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(result))
            return
        sent = "also sent by mail" if is_mailed else "the mail server did not take it: pass it on yourself"
        self.stdout.write(
            f"{result['tenant']} is ready.\n  Portal      {result['url']}\n  Chat        {result['chat_url']}\n"
            f"  Invitation  {result['invitation']}  ({sent}; valid for 7 days)"
        )
