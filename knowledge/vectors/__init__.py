"""The vector store: one collection per tenant. Only this package calls Qdrant and names collections.

Every function acts for the tenant of the context and raises NoTenantContext without one. A collection
``t_<id>_<generation>`` stands behind the alias ``t_<id>``. Its points have a keyword vector and, where an
embedding model is configured, a dense one, named after its size so that a change of model adds a vector
beside the old. All calls block; async code crosses over with `run_for`.
"""

from knowledge.vectors.collection import drop, ensure_collection
from knowledge.vectors.connection import ping
from knowledge.vectors.hybrid import Hit, search
from knowledge.vectors.points import Point, count, delete_document, upsert

__all__ = ["Hit", "Point", "count", "delete_document", "drop", "ensure_collection", "ping", "search", "upsert"]
