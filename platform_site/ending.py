"""Whether this process has been told to end: what works for long looks here."""

_begun = False


def begin() -> None:
    """It has been. There is no way back."""
    global _begun
    _begun = True


def has_begun() -> bool:
    """Whether it has been."""
    return _begun
