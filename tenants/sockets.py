"""The websocket half of host resolution: who is called, and may this page call."""

import logging

from django.db import OperationalError

from tenants import directory, names
from tenants.context import TenantRef, run_for_nobody

logger = logging.getLogger(__name__)
RETRY_SECONDS = 5


class TenantSocket:
    """ASGI middleware: a socket to a tenant's host gets ``scope["tenant"]`` and that name as ``scope["host"]``.

    All others are refused before accept.

    A browser always sends Origin. It must be the host itself: sibling tenants and look-alikes are refused (403).
    A caller without Origin is no browser; it has no cookie to abuse and must still bring a ticket in its first frame.
    """

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        host, origin = _only(scope, b"host") or "", _only(scope, b"origin")
        known, found = directory.cached_host(host)
        if not known:
            try:
                found = await run_for_nobody(directory.by_host, host)
            except OperationalError as error:
                logger.warning("host not looked up", extra={"error": type(error.__cause__ or error).__name__})
                await _refuse_for_now(send)
                return
        if not isinstance(found, TenantRef) or not _same_site(origin, host, scope):
            await nowhere(scope, receive, send)
            return
        await self.inner({**scope, "tenant": found, "host": names.of_header(host)}, receive, send)


async def nowhere(scope, receive, send):
    """The ASGI application of sockets that lead nowhere: refused before accept."""
    await send({"type": "websocket.close", "code": 4403})


async def _refuse_for_now(send):
    """Refuse a socket that may come again: pages do by themselves."""
    headers = [(b"retry-after", str(RETRY_SECONDS).encode())]
    await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})


def _only(scope, name: bytes) -> str | None:
    """A header's value; None without it. Sent twice, it is no value that anything could fit."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ",".join(values) if values else None


def _same_site(origin: str | None, host: str, scope) -> bool:
    if origin is None:
        return True
    # behind a proxy that ends TLS the socket arrives as ws while the page is https
    schemes = ["https"] if scope.get("scheme") == "wss" else ["http", "https"]
    return origin.lower() in [f"{scheme}://{host.lower()}" for scheme in schemes]
