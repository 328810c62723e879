"""The brand of the tenant at work, ready for templates."""

import time
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse

from branding.models import Branding
from tenants.context import current as current_tenant

CACHE_SECONDS = 5


@dataclass(frozen=True)
class Brand:
    """What a page shows of a tenant."""

    name: str
    stylesheet_url: str = ""
    logo_url: str | None = None
    powered_by: bool = False

    @property
    def initial(self) -> str:
        """The letter of the mark where there is no logo."""
        return self.name[:1].upper()


PLATFORM = Brand(name="Atrium")
_cache: dict[int, tuple[float, Brand]] = {}  # by tenant id


def current() -> Brand:
    """The current tenant's brand; an edit shows within some seconds in every process."""
    tenant = current_tenant()
    kept = _cache.get(tenant.id)
    if kept and kept[0] > time.monotonic():
        return kept[1]
    row = Branding.objects.first()
    brand = _brand(row) if row else Brand(name=tenant.name)
    _cache[tenant.id] = (time.monotonic() + CACHE_SECONDS, brand)
    return brand


def _brand(row: Branding) -> Brand:
    try:
        stylesheet = f"{reverse('theme', urlconf='platform_site.urls_tenant')}?v={row.revision}"
    except NoReverseMatch:
        stylesheet = ""
    return Brand(name=row.name, stylesheet_url=stylesheet, powered_by=row.powered_by_visible)
