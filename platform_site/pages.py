"""What every HTML page needs: the brand of its host, the navigation its reader may use, and error pages."""

import sys

from django.conf import settings
from django.shortcuts import render
from django.urls import reverse

from branding import brands
from platform_site import outage
from platform_site.logs import request_id
from tenants import lifecycle


def page_frame(request) -> dict:
    """Context of every template: ``brand`` of the tenant (or the platform's own look), ``nav`` for its staff."""
    tenant = getattr(request, "tenant", None)
    if tenant is None:
        return {"brand": brands.PLATFORM, "on_platform": getattr(request, "on_platform", False)}
    if getattr(request, "failed", False):
        return {"brand": brands.last_known(tenant)}
    user = getattr(request, "user", None)
    return {
        "brand": brands.current(),
        "nav": _navigation(request, user) if user else [],
        "paused": _pause(tenant, user) if lifecycle.is_paused(tenant) else None,
    }


def _pause(tenant, user) -> dict | None:
    """For staff: why their tenant is paused, whether for good, and whom to write to."""
    if user is None or not user.is_authenticated:
        return None
    closing = lifecycle.is_closing(tenant)
    return {"closing": closing, "reason": lifecycle.reason(), "contact": settings.SUPPORT_EMAIL}


NAVIGATION = [  # heading, name, label, icon, right
    ("", "overview", "Overview", "home", "portal.view"),
    ("Build", "agents", "Agents", "bot", "agents.view"),
    ("Build", "documents", "Knowledge", "book", "knowledge.view"),
    ("Organisation", "branding", "Branding", "brush", "branding.view"),
    ("Organisation", "domains", "Domains", "globe", "domains.edit"),
    ("Organisation", "team", "Team", "team", "team.view"),
    ("Organisation", "keys", "Developers", "key", "keys.edit"),
    ("Organisation", "usage", "Usage and plan", "gauge", "usage.view"),
]


def _navigation(request, user) -> list[dict]:
    may = getattr(user, "may", lambda right: False)
    entries = []
    for heading, name, label, icon, right in NAVIGATION:
        if may(right):
            href = reverse(f"portal:{name}", urlconf=settings.TENANT_URLCONF)
            current = request.path == href or (href != "/" and request.path.startswith(href))
            entries.append({"heading": heading, "href": href, "label": label, "icon": icon, "current": current})
    return entries


def not_found(request, exception=None):
    """404: the same for what is not there and what is not yours; without a brand where no host is known."""
    template = "errors/tenant_404.html" if getattr(request, "tenant", None) else "errors/404.html"
    return render(request, template, status=404)


def failed(request):
    """500, or 503 when a service is away, with a reference number that stands in the log.

    It asks no database, which may be what failed.
    """
    request.failed = True
    template = "errors/tenant_500.html" if getattr(request, "tenant", None) else "errors/500.html"
    away = outage.is_outage(sys.exc_info()[1])
    response = render(request, template, {"reference": request_id.get()}, status=503 if away else 500)
    if away:
        response["Retry-After"] = str(outage.RETRY_SECONDS)
    return response
