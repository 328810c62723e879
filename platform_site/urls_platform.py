"""The operators' host: admin, sign-in, probes."""

from django.contrib.admin import site
from django.urls import path
from django.views.generic import RedirectView

from platform_site import health
from tenants.accounts.urls import sign_in_urls

urlpatterns = [
    path("healthz", health.live),
    path("readyz", health.ready),
    path("", RedirectView.as_view(url="/admin/"), name="home"),
    path("admin/", site.urls),
    *sign_in_urls,
]
handler404 = "platform_site.pages.not_found"
handler500 = "platform_site.pages.failed"
