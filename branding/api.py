"""The brand for programs, e.g. for a widget in an app of the tenant's own."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from branding import brands
from platform_site.api import ApiView


class BrandSerializer(serializers.Serializer):
    """The brand as it is live. Colours are ``#rrggbb``, made readable for the ground they stand on."""

    name = serializers.CharField()
    revision = serializers.IntegerField(help_text="Counts up with each change")
    colour = serializers.CharField(source="theme.brand")
    ink = serializers.CharField(source="theme.ink", help_text="Text on the colour")
    text_light = serializers.CharField(source="theme.text_light", help_text="Links and icons on light grounds")
    text_dark = serializers.CharField(source="theme.text_dark", help_text="Links and icons on dark grounds")
    wallpaper_light = serializers.CharField(source="theme.wallpaper_light")
    wallpaper_dark = serializers.CharField(source="theme.wallpaper_dark")
    radius = serializers.IntegerField(source="theme.radius", help_text="Corner radius in pixels")
    font = serializers.CharField(source="theme.font", help_text="Name of the font stack")
    powered_by = serializers.BooleanField()
    stylesheet_url = serializers.CharField(help_text="The theme as CSS, on this host")


class BrandingView(ApiView):
    """The tenant's brand."""

    required_scope = "branding:read"
    required_right = "branding.view"

    @extend_schema(operation_id="read_branding", responses=BrandSerializer, tags=["branding"])
    def get(self, request):
        """The brand as customers see it; a change shows here within some seconds."""
        return Response(BrandSerializer(brands.current()).data)
