"""The vector store: one collection per tenant. Only this package calls Qdrant and names collections.

Every function acts for the tenant of the context and raises NoTenantContext without one. A collection
``t_<id>_<generation>`` stands behind the alias ``t_<id>``. Its points have a keyword vector and, where an
embedding model is configured, a dense one, named after its size so that a change of model adds a vector
beside the old. All calls block; async code crosses over with `run_for`.
"""

from importlib import import_module

_HOMES = {
    "drop": "collection",
    "ensure_collection": "collection",
    "ping": "connection",
    "Hit": "hybrid",
    "search": "hybrid",
    "Point": "points",
    "count": "points",
    "delete_document": "points",
    "upsert": "points",
}
__all__ = [*_HOMES, "load"]


def __getattr__(name: str):
    """Loaded when first used: qdrant-client takes over a second to import, and most commands never search."""
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"knowledge.vectors.{_HOMES[name]}"), name)


def load() -> None:
    """Import everything now: a process that will search does it before it takes traffic."""
    for module in set(_HOMES.values()):
        import_module(f"knowledge.vectors.{module}")
