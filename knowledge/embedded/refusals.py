"""Saying no: a status, a clear text, and never a silently ignored key."""


class Refusal(Exception):
    """The request is answered with this HTTP status and text; nothing was changed."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


def only(body, *known: str) -> dict:
    """The JSON object without its nulls, if it has no key beside the known ones.

    Raises  Refusal  400 it is no object; 501 it has another key
    """
    if not isinstance(body, dict):
        raise Refusal(400, f"expected a JSON object, got {type(body).__name__}")
    given = {key: value for key, value in body.items() if value is not None}
    if unknown := sorted(given.keys() - set(known)):
        raise Refusal(501, f"not implemented by the embedded vector service: {', '.join(unknown)}")
    return given


def need(given: dict, key: str):
    """The value of a key that must be there."""
    if key not in given:
        raise Refusal(400, f"missing field `{key}`")
    return given[key]


def whole_number(given: dict, key: str, default: int, *, at_least: int = 0) -> int:
    """The value of a key that must be a whole number, or the default."""
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise Refusal(400, f"`{key}` must be a whole number of at least {at_least}")
    return value


def as_list(value) -> list:
    """What may be one thing or a list of them, as a list."""
    return value if isinstance(value, list) else [value]
