"""Where a request comes from, for the few doors that are not for everybody."""

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
