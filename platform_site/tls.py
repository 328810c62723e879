"""The front's question before it gets a certificate for a host. Only the front may ask it."""

import logging

from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse

from platform_site import callers, pages
from tenants import certificates

logger = logging.getLogger(__name__)


def may_issue(request: HttpRequest) -> HttpResponse:
    """200 for a host of ours, 404 for others; whoever may not ask gets the 404 of a page that does not exist."""
    if not callers.is_direct(request, settings.TLS_ASK_FROM):
        logger.warning("somebody else than the front asks for certificates, see TLS_ASK_FROM")
        return pages.not_found(request)
    try:
        status = 200 if certificates.may_be_issued(request.GET.get("domain", "")) else 404
    finally:
        connections["default"].close()  # an unknown host's page is made outside of what gives it back
    return HttpResponse(status=status, content_type="text/plain")
