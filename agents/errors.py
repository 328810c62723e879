"""What can go wrong between an agent and its model."""

from platform_site.errors import PlatformError, TemporaryFailure


class ModelUnavailable(TemporaryFailure):
    """The model does not answer now: overloaded, slow, unreachable. details: retry_after (seconds)"""

    code = "model_unavailable"
    text = "The assistant is not available right now. Please try again shortly."


class ModelRefused(PlatformError):
    """The provider will not do this, however often it is asked. Never holds the provider's own words.

    details  reason: "key" (missing, wrong, out of credit), "unknown_model", "too_long", "content", "request"
    """

    code, status = "model_refused", 502
    text = "The assistant cannot answer this."
