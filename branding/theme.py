"""What every page of a tenant loads of its brand: the generated stylesheet and icon. Public, cached by revision."""

from hashlib import sha256

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.html import escape
from django.views.decorators.http import require_safe

from branding import brands

A_YEAR = "public, max-age=31536000, immutable"
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="{brand}"/>'
    '<text x="16" y="22.5" font-family="sans-serif" font-size="19" font-weight="700" text-anchor="middle" '
    'fill="{ink}">{initial}</text></svg>'
)


@require_safe
def stylesheet(request):
    """The six properties that the tenant sets."""
    brand = brands.of_revision(request.GET.get("v", ""))
    return _kept_by_revision(request, brand, brand.theme.stylesheet(), "text/css; charset=utf-8")


@require_safe
def icon(request):
    """The brand's first letter on its colour."""
    brand = brands.of_revision(request.GET.get("v", ""))
    text = ICON.format(brand=brand.theme.brand, ink=brand.theme.ink, initial=escape(brand.initial))
    return _kept_by_revision(request, brand, text, "image/svg+xml")


def _kept_by_revision(request: HttpRequest, brand: brands.Brand, text: str, content_type: str) -> HttpResponse:
    """For a year under the address of its revision; asked about again each time under any other."""
    etag = f'"{sha256(text.encode()).hexdigest()[:32]}"'
    response = HttpResponse(text, content_type=content_type)
    is_current = request.GET.get("v") == str(brand.revision)
    response = get_conditional_response(request, etag=etag, response=response)
    response["ETag"] = etag
    response["Cache-Control"] = A_YEAR if is_current else "public, no-cache"
    return response
