"""What an unknown host sees: the probes, what the front asks, and 404 without a brand."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from platform_site import health, pages, tls

PROBES = {"/healthz": health.live, "/readyz": health.ready}  # they come by address, so they answer any host
FRONT = {"/tls/may-issue": tls.may_issue}  # asked by address, so that no host of a tenant or of the operators has it
VIEWS = PROBES | FRONT
urlpatterns = [path(address[1:], view) for address, view in VIEWS.items()]
handler404 = "platform_site.pages.not_found"
handler500 = "platform_site.pages.failed"


def answer(request: HttpRequest) -> HttpResponse:
    """The whole site of a host that leads nowhere; called before sessions and contexts."""
    return VIEWS.get(request.path, pages.not_found)(request)
