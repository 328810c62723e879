"""What the tests of this folder share."""

from tests.knowledge.vector_service import fresh_service, vector_service, vector_store

__all__ = ["fresh_service", "vector_service", "vector_store"]
