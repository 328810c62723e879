"""What a new tenant needs before its first document."""

from knowledge import bases, vectors
from knowledge.errors import VectorStoreDown
from tenants.context import TenantRef
from tenants.registry import Options


def provision(tenant: TenantRef, options: Options) -> None:
    """A knowledge base and a place in the vector store; twice changes nothing. Raises VectorStoreDown."""
    bases.ensure_default()
    try:
        vectors.ensure_collection(dense_size=None)
    except VectorStoreDown as error:
        raise VectorStoreDown(
            f"The vector store does not answer, so {tenant.name} has no place for its knowledge yet. "
            "Start the vector store, then run the same command again: it goes on where it stopped.",
            **error.details,
        ) from error
