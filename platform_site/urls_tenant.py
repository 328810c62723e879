"""A tenant's hosts: portal, chat, API, sign-in, probes. Each app brings the lists of its doors."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from agents import urls as agents
from branding import urls as branding
from knowledge import urls as knowledge
from metering import urls as metering
from platform_site import health
from tenants import portal as domains
from tenants.accounts import portal as accounts
from tenants.accounts.urls import sign_in_urls

portal_urls = [
    path("invitation/<str:secret>/", accounts.invitation, name="invitation"),
    path("team/", accounts.team, name="team"),
    path("domains/", domains.domain_list, name="domains"),
    path("domains/<uuid:claim>/", domains.state, name="domain_state"),
    path("domains/<uuid:claim>/check/", domains.check, name="check_domain"),
    path("domains/<uuid:claim>/remove/", domains.remove, name="remove_domain"),
    path("developers/", accounts.keys_page, name="keys"),
    path("developers/<uuid:key>/revoke/", accounts.revoke_key, name="revoke_key"),
    path("developers/<uuid:key>/keep/", accounts.keep_key, name="keep_key"),
    *branding.portal_urls,
    *agents.portal_urls,
    *knowledge.portal_urls,
    *metering.portal_urls,
]
api_urls = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    *agents.api_urls,
    *knowledge.api_urls,
    *branding.api_urls,
    *metering.api_urls,
]
urlpatterns = [
    path("healthz", health.live),
    path("readyz", health.ready),
    path("api/v1/", include((api_urls, "api"))),
    path("chat/", include((agents.chat_urls, "chat"))),
    *branding.theme_urls,
    *sign_in_urls,
    path("", include((portal_urls, "portal"))),
]
handler404 = "platform_site.pages.not_found"
handler500 = "platform_site.pages.failed"
