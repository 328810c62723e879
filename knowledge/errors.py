"""What can go wrong with knowledge, for callers to act on."""

from platform_site.errors import PlatformError, TemporaryFailure


class VectorStoreDown(TemporaryFailure):
    """The vector store does not answer, or not usefully. details: retry_after (seconds)"""

    code, text = "vector_store_down", "The knowledge search does not answer right now."


class UploadTooLarge(PlatformError):
    """The file is larger than uploads may be; the text says how large that is."""

    code, status = "too_large", 413


class StorageFull(PlatformError):
    """The plan's room for documents does not hold this file. details: used, allowed, bytes (of the file)"""

    code, status = "storage_full", 409
