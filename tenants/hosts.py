"""Decides by the Host header alone for whom a request is: one tenant, the platform, or nobody (404)."""

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import sync_and_async_middleware
from django.utils.module_loading import import_string

from tenants import directory, names
from tenants.context import TenantRef, acting_for, acting_for_platform, newest, run_for_nobody
from tenants.errors import TenantMoved


@sync_and_async_middleware
def middleware(get_response):
    """Enter the context of the request's host, and choose the half of the site that it sees.

    A host that leads nowhere gets settings.NOWHERE_VIEW at once: no session, no context, no fallback.
    """
    nowhere = import_string(settings.NOWHERE_VIEW)
    if iscoroutinefunction(get_response):

        async def answer(request):
            known, found = directory.cached_host(_host(request))
            if not known:
                found = await run_for_nobody(directory.by_host, _host(request))
            if found is None:
                return await sync_to_async(nowhere, thread_sensitive=False)(request)
            with _entered(request, found):
                response = await get_response(request)
                return _keep_context(response, found)
    else:

        def answer(request):
            found = directory.by_host(_host(request))
            if found is None:
                return nowhere(request)
            with _entered(request, found):
                response = get_response(request)
                return _keep_context(response, found)

    answer.process_exception = _after_a_move
    return answer


def _after_a_move(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """The tenant moved while this process remembered its old place: a page is asked for again, at the new one."""
    if not isinstance(error, TenantMoved):
        return None
    if request.method in ("GET", "HEAD") and newest(request.tenant).alias != request.tenant.alias:
        return HttpResponseRedirect(request.get_full_path())
    headers = {"Retry-After": str(error.details.get("retry_after", 1))}
    return HttpResponse(str(error), status=error.status, headers=headers, content_type="text/plain; charset=utf-8")


def _host(request: HttpRequest) -> str:
    """The one trusted source: the Host header. Forwarded headers are not asked.

    Probes belong to no tenant, and are answered when no database can say whose a host is.
    """
    host = request.META.get("HTTP_HOST", "")
    is_probe = request.path in settings.PROBE_PATHS and names.normalised(host) != settings.PLATFORM_HOST
    return "" if is_probe else host


def _entered(request: HttpRequest, found: TenantRef | directory.Platform):
    request.tenant = found if isinstance(found, TenantRef) else None
    request.on_platform = found is directory.PLATFORM
    if request.tenant:
        request.urlconf = settings.TENANT_URLCONF
        return acting_for(request.tenant)
    request.urlconf = settings.PLATFORM_URLCONF
    return acting_for_platform(f"{request.method} {request.path}")


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
