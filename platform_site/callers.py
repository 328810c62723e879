"""Where a request comes from: for the few doors that are not for everybody, and for limits by address."""

import ipaddress

from django.http import HttpRequest


def is_direct(request: HttpRequest, networks: list = ()) -> bool:
    """Whether a program on this machine, or in one of the networks, asks for itself and not for somebody else.

    A front names whom it asks for in a header; that makes the request a stranger's, whatever the header says.
    """
    forwarded = "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META
    return not forwarded and _is_among(request.META.get("REMOTE_ADDR", ""), networks)


def _is_among(text: str, networks: list) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in networks)


def network_of(text: str) -> str | None:
    """What limits by address count under: an IPv4 address, or the /64 of an IPv6 one, all of which one caller has.

    text     as the server names the caller; it has looked behind proxies that it trusts, and only those
    Returns  None for this machine itself, where whoever asks could do worse
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"  # no address at all, e.g. from a Unix socket: they share one count
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return None
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
