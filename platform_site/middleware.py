"""What every answer carries: a request id and the security policy."""

import re
from uuid import uuid4

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

from platform_site import logs

ACCEPTED_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' {socket}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "manifest-src 'self'"
)


@sync_and_async_middleware
def request_id(get_response):
    """Name the request in logs and answer; a well-formed X-Request-ID from a proxy is kept."""
    if iscoroutinefunction(get_response):

        async def answer(request):
            logs.request_id.set(_id_of(request))  # not taken back: Django logs a 404 after the last middleware
            return _named(await get_response(request))
    else:

        def answer(request):
            logs.request_id.set(_id_of(request))
            return _named(get_response(request))

    return answer


@sync_and_async_middleware
def security_headers(get_response):
    """The strict content security policy on every page, and no caching of anything but static files."""
    if iscoroutinefunction(get_response):

        async def answer(request):
            return _secured(request, await get_response(request))
    else:

        def answer(request):
            return _secured(request, get_response(request))

    return answer


def _id_of(request) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if ACCEPTED_ID.fullmatch(given) else uuid4().hex


def _named(response):
    response["X-Request-ID"] = logs.request_id.get()
    return response


def _secured(request, response):
    scheme = "wss" if request.is_secure() else "ws"
    host = request.META.get("HTTP_HOST", "")
    socket = f"{scheme}://{host}" if re.fullmatch(r"[A-Za-z0-9.:-]+", host) else ""
    headers = {
        "Content-Security-Policy": POLICY.format(socket=socket),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
    for name, value in headers.items():
        response.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.setdefault("Cache-Control", "private, no-store")
    return response
