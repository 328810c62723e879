"""The one family of errors that a caller can act on."""


class PlatformError(Exception):
    """Something the caller can act on. Verbs raise it, doors translate it.

    code     stable, snake_case, part of our public API
    status   for the HTTP doors
    details  JSON-ready facts; never a secret, never another tenant's data
    """

    code = "error"
    status = 400
    text = "This could not be done."

    def __init__(self, text: str = "", **details):
        super().__init__(text or self.text)
        self.details = details

    def as_dict(self) -> dict:
        """``{"code", "text", **details}``, ready for JSON."""
        return {"code": self.code, "text": str(self), **self.details}


class BadInput(PlatformError):
    """What was sent cannot be used; the text says why and what to do."""

    code, status = "bad_input", 400


class Refused(PlatformError):
    """The caller is known but may not do this."""

    code, status, text = "refused", 403, "You may not do this."


class NotFound(PlatformError):
    """Not there, or not yours: one answer for both."""

    code, status, text = "not_found", 404, "This does not exist."


class Conflict(PlatformError):
    """Somebody else changed it in the meantime, or it is already so."""

    code, status = "conflict", 409


class TemporaryFailure(PlatformError):
    """A service we lean on does not answer now; trying again can help. details: retry_after (seconds)"""

    code, status, text = "temporary_failure", 503, "This does not work right now. Please try again shortly."
