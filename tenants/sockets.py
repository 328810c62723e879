"""The websocket half of host resolution: who is called, and may this page call."""

from urllib.parse import urlsplit

from tenants import directory
from tenants.context import TenantRef, run_for_nobody


class TenantSocket:
    """ASGI middleware: a socket to a tenant's host gets ``scope["tenant"]``; all others are refused before accept.

    A browser always sends Origin. It must be the host itself: sibling tenants and look-alikes are refused (403).
    A caller without Origin is no browser; it has no cookie to abuse and must still bring a ticket in its first frame.
    """

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        known, found = directory.cached_host(host)
        if not known:
            found = await run_for_nobody(directory.by_host, host)
        if not isinstance(found, TenantRef) or not _same_site(headers.get(b"origin"), host, scope):
            await send({"type": "websocket.close", "code": 4403})
            return
        await self.inner({**scope, "tenant": found}, receive, send)


def _same_site(origin: str | None, host: str, scope) -> bool:
    if origin is None:
        return True
    parts = urlsplit(origin)
    expected = "https" if scope.get("scheme") == "wss" else "http"
    # behind a proxy that ends TLS the socket arrives as ws while the page is https
    return parts.scheme in (expected, "https") and parts.netloc.lower() == host.lower()
