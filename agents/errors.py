"""What can go wrong between an agent and its model, and what the chat door refuses."""

from platform_site.errors import PlatformError, TemporaryFailure


class ModelUnavailable(TemporaryFailure):
    """The model does not answer now: overloaded, slow, unreachable. details: retry_after (seconds)

    told_seconds  how long the provider itself asks to wait; None: it does not say
    """

    code = "model_unavailable"
    text = "The assistant is not available right now. Please try again shortly."
    told_seconds: int | None = None


class ModelRefused(PlatformError):
    """The provider will not do this, however often it is asked. Never holds the provider's own words.

    details  reason: "key" (missing, wrong, out of credit), "unknown_model", "too_long", "content", "request"
    """

    code, status = "model_refused", 502
    text = "The assistant cannot answer this."


class TooFast(PlatformError):
    """More messages than a person writes came over one socket. details: retry_after (seconds), id (of the message)"""

    code, status = "too_fast", 429
    text = "That was a lot at once."


class TooManySockets(PlatformError):
    """The address or the tenant has as many open sockets as it may. details: retry_after (seconds)"""

    code, status = "too_many_sockets", 429
