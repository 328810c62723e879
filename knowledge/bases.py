"""Sets of documents that agents may read. For now each tenant has one."""

from knowledge.models import KnowledgeBase

DEFAULT_NAME = "General"


def ensure_default() -> KnowledgeBase:
    """The base that documents go to unless another is named; made when it is missing."""
    return KnowledgeBase.objects.get_or_create(name=DEFAULT_NAME)[0]
