"""What a tenant may be called: one place for the rules on names, slugs and hosts."""

import re
from functools import cache
from zoneinfo import available_timezones

import idna
from django.conf import settings
from django.utils.text import slugify

from tenants import lookalikes
from tenants.errors import BadName

SLUG = re.compile(r"[a-z](?:[a-z0-9-]{1,38}[a-z0-9])")
_RESERVED = """
public pg-catalog information-schema platform admin api app www mail smtp imap ftp static assets cdn status support help
docs login auth sso account accounts billing root system internal localhost default template test staging production
isolation-probe widget chat ws
"""
RESERVED = frozenset(_RESERVED.split())
STAND_IN, STAND_IN_NAME = "isolation-probe", "Isolation probe (synthetic)"  # the tenant of tenants.isolation

PORT = re.compile(r":[0-9]{1,5}\Z")
HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
PROOF_LABEL = "_atrium"  # stands before a domain in the name of the record that proves it
PROOF_VALUE = "atrium-verify="
LONGEST_DOMAIN = 253 - len(f"{PROOF_LABEL}.")
# The last label holds no digit unless it is an international one: that leaves out every spelling of an IP address
DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,58}[a-z0-9])")
NOT_PUBLIC = frozenset(["localhost", "local", "internal", "invalid", "test", "example", "onion", "alt", "arpa"])
# A country's own endings, such as co.uk: not all there are, but the record under them is nobody's to set either
SHARED_ENDING = re.compile(r"(?:ac|co|com|edu|gob|gov|gouv|go|ltd|mil|ne|net|nom|or|org|plc|sch)\.[a-z]{2}")


def checked_name(name: str, *, synthetic: bool = False) -> str:
    """The name without stray spaces; only a synthetic tenant may have that one's. Raises BadName."""
    clean = " ".join(name.split())
    if not 2 <= len(clean) <= 100:
        raise BadName("A tenant's name has 2 to 100 characters.")
    if not clean.isprintable():
        raise BadName("A tenant's name may not hold control characters.")
    if clean.casefold() == STAND_IN_NAME.casefold() and not synthetic:
        raise BadName(f"“{clean}” is reserved. Choose another name.")
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


_time_zones = cache(available_timezones)  # it looks at hundreds of files: 20 ms


def checked_time_zone(zone: str) -> str:
    """A time zone's name as in "Europe/London". Raises BadName."""
    if zone not in _time_zones():
        raise BadName(f"There is no time zone “{zone}”. Write one like Europe/London.")
    return zone


def normalised(host: str) -> str:
    """A host as a domain name: lower case, IDNA, no port, no trailing dot; "" when it is none."""
    name = PORT.sub("", host.lower()).removesuffix(".")
    try:
        name = name if name.isascii() else idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return ""
    return name if len(name) <= 253 and HOST.fullmatch(name) else ""


def of_header(host: str) -> str:
    """The same of a Host header or what stands for one; it never holds other than ASCII: browsers send IDNA."""
    return normalised(host) if host.isascii() else ""


def checked_domain(host: str) -> str:
    """The host as a domain of a tenant's own, normalised. Raises BadName."""
    name = normalised(host.strip())
    if len(name) > LONGEST_DOMAIN or not DOMAIN.fullmatch(name):
        raise BadName(
            f"“{host}” cannot be used as a domain: write a full host name like chat.example.com, "
            "without https:// and without a path."
        )
    if _is_ours(name):
        raise BadName(f"“{name}” belongs to this platform.")
    ending = name.rpartition(".")[2]
    if ending in NOT_PUBLIC:
        raise BadName(f"“{name}” cannot be used: names that end in .{ending} lead nowhere on the internet.")
    if SHARED_ENDING.fullmatch(name):
        raise BadName(f"“{name}” is an ending that many owners share. Write a name under it.")
    if fault := lookalikes.fault(name):
        raise BadName(f"“{name}” cannot be used: {fault}")
    return name


def _is_ours(name: str) -> bool:
    """Our own hosts, all that stands under them, and what they stand under."""
    ours = (settings.PLATFORM_HOST, settings.TENANT_HOST_SUFFIX)
    return any(f".{name}".endswith(f".{own}") or own.endswith(f".{name}") for own in ours)


def host_for(slug: str) -> str:
    """The host name a tenant gets without a domain of its own."""
    return f"{slug}.{settings.TENANT_HOST_SUFFIX}"


def address(host: str) -> str:
    """The public base URL of one of our hosts, without a trailing slash."""
    default = {"http": 80, "https": 443}[settings.PUBLIC_SCHEME]
    port = "" if default == settings.PUBLIC_PORT else f":{settings.PUBLIC_PORT}"
    return f"{settings.PUBLIC_SCHEME}://{host}{port}"
