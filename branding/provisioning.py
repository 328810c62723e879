"""What a new tenant looks like before it chooses for itself."""

from branding.models import Branding
from tenants.context import TenantRef
from tenants.registry import Options

LOOKS = {
    "healthcare": {"colour": "#0b6b70", "radius": 12, "font": Branding.Font.HUMANIST},
    "real_estate": {"colour": "#8f3a1f", "radius": 6, "font": Branding.Font.SERIF},
    "it_support": {"colour": "#3f4bd8", "radius": 8, "font": Branding.Font.SYSTEM},
}


def provision(tenant: TenantRef, options: Options) -> None:
    """Its brand: the tenant's name, and a look that suits its industry."""
    Branding.objects.get_or_create(defaults={"name": tenant.name[:80], **LOOKS.get(options.vertical, {})})
