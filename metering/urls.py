"""The app's doors, collected by platform_site/urls_tenant.py."""

from django.urls import path

from metering import api, portal

portal_urls = [path("usage/", portal.usage_page, name="usage")]
api_urls = [path("usage/", api.UsageView.as_view(), name="usage")]
