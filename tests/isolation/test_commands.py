"""Every management command: operators' work, which says for whom it is before it does anything."""

import inspect

from django.core.management import get_commands, load_command_class

from platform_site.commands import PlatformCommand

OURS = ("agents", "branding", "knowledge", "metering", "platform_site", "tenants")
FOR_THE_PLATFORM = {
    "add_domain", "check_isolation", "create_tenant", "database", "domains", "migrate_fleet", "move_back",
    "move_resume", "move_tenant", "moves", "release_domain", "resume_tenant", "suspend_tenant", "tenants",
    "verify_domain",
}  # fmt: skip
# Each with why it does not enter the platform's context by itself
OTHERS = {
    "createsuperuser": "Django's own, acting for the platform while it asks",
    "deploy": "works with the owner's login, before there is anything to act for",
    "migrate": "Django's own; on a tenant's database only while that is pinned",
    "seed_demo": "acts for the platform, then for each demo tenant",
    "wire_schema": "prints the wire format, reads no data",
}


def ours() -> dict[str, type]:
    """The commands of our apps by name, also those that stand before another package's."""
    found = {name: getattr(app, "name", app) for name, app in get_commands().items()}
    return {name: type(load_command_class(app, name)) for name, app in found.items() if app.split(".")[0] in OURS}


def test_a23_every_command_is_in_the_matrix_and_acts_for_the_platform():
    kinds = {name: issubclass(kind, PlatformCommand) for name, kind in ours().items()}
    assert {name for name, is_platform in kinds.items() if is_platform} == FOR_THE_PLATFORM
    assert {name for name, is_platform in kinds.items() if not is_platform} == set(OTHERS)


def test_a23_no_command_asks_for_a_schema_or_a_role_by_name():
    texts = {name: inspect.getsource(kind) for name, kind in ours().items() if name != "migrate"}
    assert [name for name, text in texts.items() if '"--schema' in text or "set_tenant(" in text] == []
