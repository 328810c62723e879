"""The brand of the tenant at work, ready for templates. Kept in the process for some seconds."""

from dataclasses import dataclass

from django.urls import reverse

from branding import theming
from branding.models import Branding
from tenants.cache import TenantCache
from tenants.context import TenantRef
from tenants.context import current as current_tenant


@dataclass(frozen=True)
class Brand:
    """What a page shows of a tenant."""

    name: str
    theme: theming.Theme
    stylesheet_url: str = ""
    icon_url: str = "data:,"
    powered_by: bool = False
    revision: int = 0

    @property
    def initial(self) -> str:
        """The letter of the mark."""
        return self.name[:1].upper()


PLATFORM = Brand(name="Atrium", theme=theming.derive("#0f5c56"))


def current() -> Brand:
    """The current tenant's brand; a change shows at once in this process and within some seconds in every other."""
    return _cache.get()


def last_known(tenant: TenantRef) -> Brand:
    """A tenant's brand without asking the database, for the page that says something failed."""
    return _cache.last_known(tenant.id) or Brand(name=tenant.name, theme=PLATFORM.theme)


def of_revision(revision: str) -> Brand:
    """The current tenant's brand, read again where a page of another process knows a newer one than we do."""
    brand = current()
    if revision.isascii() and revision.isdigit() and int(revision[:10]) > brand.revision:
        forget(current_tenant().id)
        brand = current()
    return brand


def forget(tenant_id: int) -> None:
    """Drop what this process remembers of a brand that has changed here."""
    _cache.forget(tenant_id)


def theme_of(row: Branding) -> theming.Theme:
    """The theme of saved settings."""
    return theming.derive(row.colour, wallpaper=row.wallpaper, radius=row.radius, font=row.font)


def _current() -> Brand:
    return _brand(Branding.objects.first() or Branding(name=current_tenant().name))


_cache = TenantCache(_current)


def _brand(row: Branding) -> Brand:
    address = {name: reverse(name, urlconf="platform_site.urls_tenant") for name in ("theme", "icon")}
    return Brand(
        name=row.name,
        theme=theme_of(row),
        stylesheet_url=f"{address['theme']}?v={row.revision}",
        icon_url=f"{address['icon']}?v={row.revision}",
        powered_by=row.powered_by_visible,
        revision=row.revision,
    )
