"""What a new tenant needs before its first document."""

from knowledge import bases
from tenants.context import TenantRef
from tenants.registry import Options


def provision(tenant: TenantRef, options: Options) -> None:
    """A knowledge base; twice changes nothing. Its collection in the vector store comes with the first document."""
    bases.ensure_default()
