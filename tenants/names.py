"""What a tenant may be called: one place for the rules on names, slugs and hosts."""

import re
from zoneinfo import available_timezones

from django.conf import settings
from django.utils.text import slugify

from tenants.errors import BadName

SLUG = re.compile(r"[a-z](?:[a-z0-9-]{1,38}[a-z0-9])")
_RESERVED = """
public pg-catalog information-schema platform admin api app www mail smtp imap ftp static assets cdn status support help
docs login auth sso account accounts billing root system internal localhost default template test staging production
isolation-probe widget chat ws
"""
RESERVED = frozenset(_RESERVED.split())
STAND_IN = "isolation-probe"  # the synthetic tenant of tenants.isolation


def checked_name(name: str) -> str:
    """The name without stray spaces. Raises BadName."""
    clean = " ".join(name.split())
    if not 2 <= len(clean) <= 100:
        raise BadName("A tenant's name has 2 to 100 characters.")
    if not clean.isprintable():
        raise BadName("A tenant's name may not hold control characters.")
    return clean


def checked_slug(slug: str) -> str:
    """The slug as it will stand in the host name. Raises BadName."""
    if not SLUG.fullmatch(slug):
        raise BadName(
            f"“{slug}” cannot be used in an address: use 3 to 40 lower-case letters, digits and hyphens, "
            "starting with a letter."
        )
    if slug in RESERVED or slug.startswith(("pg-", "xn--")) or host_for(slug) == settings.PLATFORM_HOST:
        raise BadName(f"“{slug}” is reserved. Choose another with --slug.")
    return slug


def slug_for(name: str) -> str:
    """A slug made from a name. Raises BadName when the name holds no usable letters."""
    slug = slugify(name)[:40].strip("-")
    return checked_slug(slug) if slug else checked_slug(name)


def checked_time_zone(zone: str) -> str:
    """A time zone's name as in "Europe/London". Raises BadName."""
    if zone not in available_timezones():
        raise BadName(f"There is no time zone “{zone}”. Write one like Europe/London.")
    return zone


def host_for(slug: str) -> str:
    """The host name a tenant gets without a domain of its own."""
    return f"{slug}.{settings.TENANT_HOST_SUFFIX}"


def address(host: str) -> str:
    """The public base URL of one of our hosts, without a trailing slash."""
    default = {"http": 80, "https": 443}[settings.PUBLIC_SCHEME]
    port = "" if default == settings.PUBLIC_PORT else f":{settings.PUBLIC_PORT}"
    return f"{settings.PUBLIC_SCHEME}://{host}{port}"
