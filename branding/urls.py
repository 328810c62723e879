"""The app's doors, collected by platform_site/urls_tenant.py."""

from django.urls import path

from branding import api, portal, theme

portal_urls = [
    path("", portal.overview, name="overview"),
    path("branding/", portal.brand_page, name="branding"),
    path("branding/preview/", portal.preview, name="branding_preview"),
    path("branding/preview.css", portal.preview_theme, name="branding_preview_theme"),
]
api_urls = [path("branding/", api.BrandingView.as_view(), name="branding")]
theme_urls = [
    path("theme.css", theme.stylesheet, name="theme"),
    path("icon.svg", theme.icon, name="icon"),
]
