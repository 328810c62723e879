"""Where the context at work is reached. Links lead there, never to what a Host header said."""

from django.conf import settings

from tenants import names
from tenants.context import current, is_platform
from tenants.models import Domain


def canonical() -> str:
    """The base URL of the current tenant's stored main domain, or of the operators' host in platform work."""
    if is_platform():
        return names.address(settings.PLATFORM_HOST)
    return names.address(Domain.objects.get(tenant_id=current().id, is_primary=True).domain)
