"""What an unknown host sees: the probes, and 404 without a brand."""

from django.urls import path

from platform_site import health

urlpatterns = [path("healthz", health.live), path("readyz", health.ready)]
handler404 = "platform_site.pages.not_found"
handler500 = "platform_site.pages.failed"
