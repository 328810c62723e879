"""Decides by the Host header alone for whom a request is: one tenant, the platform, or nobody (404)."""

from contextlib import nullcontext

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from tenants import directory
from tenants.context import TenantRef, acting_for, acting_for_platform, run_for_nobody

# Answered for any host, before one is looked up: probes come by address
BARE_PATHS = frozenset({"/healthz", "/readyz"})


@sync_and_async_middleware
def middleware(get_response):
    """Enter the context of the request's host, and choose the half of the site that it sees."""
    if iscoroutinefunction(get_response):

        async def answer(request):
            known, found = directory.cached_host(_host(request))
            if not known and request.path not in BARE_PATHS:
                found = await run_for_nobody(directory.by_host, _host(request))
            with _entered(request, found):
                response = await get_response(request)
                return _keep_context(response, found)
    else:

        def answer(request):
            found = None if request.path in BARE_PATHS else directory.by_host(_host(request))
            with _entered(request, found):
                response = get_response(request)
                return _keep_context(response, found)

    return answer


def _host(request: HttpRequest) -> str:
    """The one trusted source: the Host header. Forwarded headers are not asked."""
    return request.META.get("HTTP_HOST", "")


def _entered(request: HttpRequest, found: directory.Found):
    request.tenant = found if isinstance(found, TenantRef) else None
    request.on_platform = found is directory.PLATFORM
    if request.tenant:
        request.urlconf = settings.TENANT_URLCONF
        return acting_for(request.tenant)
    if request.on_platform:
        request.urlconf = settings.PLATFORM_URLCONF
        return acting_for_platform(f"{request.method} {request.path}")
    return nullcontext()


def _keep_context(response, found: directory.Found):
    """A streamed body is read after the middleware has returned: give each step its context back."""
    if getattr(response, "streaming", False) and isinstance(found, TenantRef):
        body = response.streaming_content
        response.streaming_content = _each_async(body, found) if response.is_async else _each(body, found)
    return response


def _each(body, ref: TenantRef):
    iterator = iter(body)
    while True:
        with acting_for(ref):
            try:
                part = next(iterator)
            except StopIteration:
                return
        yield part


async def _each_async(body, ref: TenantRef):
    iterator = aiter(body)
    try:
        while True:
            with acting_for(ref):
                try:
                    part = await anext(iterator)
                except StopAsyncIteration:
                    return
            yield part
    finally:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()
