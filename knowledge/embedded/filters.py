"""Qdrant's filters, from JSON to the engine's own objects."""

import qdrant_edge as edge

from knowledge.embedded.refusals import Refusal, as_list, need, only, whole_number
from knowledge.embedded.vectors import to_ids

_LISTS = ("must", "should", "must_not")


def to_filter(body) -> edge.Filter:
    """One filter object; each of its lists may also be a single condition."""
    given = only(body, *_LISTS, "min_should")
    parts = {name: _conditions(given[name]) for name in _LISTS if name in given}
    if "min_should" in given:
        wanted = only(given["min_should"], "conditions", "min_count")
        conditions = _conditions(need(wanted, "conditions"))
        parts["min_should"] = edge.MinShould(conditions, whole_number(wanted, "min_count", 1))
    return edge.Filter(**parts)


def filter_or_none(given: dict) -> edge.Filter | None:
    """The filter of a request without nulls, or None when it has none."""
    return to_filter(given["filter"]) if "filter" in given else None


def _conditions(value) -> list:
    return [_condition(body) for body in as_list(value)]


def _condition(body):
    if not isinstance(body, dict) or not body:
        raise Refusal(400, "a condition must be a JSON object that is not empty")
    if "key" in body:
        return _field(body)
    for name, convert in _SPECIAL.items():
        if name in body:
            return convert(only(body, name)[name])
    return to_filter(body)


def _field(body) -> edge.FieldCondition:
    given = only(body, "key", "match", "range", "is_empty", "is_null")
    tests = {name: given[name] for name in ("is_empty", "is_null") if name in given}
    if "match" in given:
        tests["match"] = _match(given["match"])
    if "range" in given:
        tests["range"] = _range(given["range"])
    if not tests:
        raise Refusal(400, "a condition on a field needs `match` or `range`")
    return edge.FieldCondition(given["key"], **tests)


_MATCHES = {
    "value": edge.MatchValue,
    "any": edge.MatchAny,
    "except": edge.MatchExcept,
    "text": edge.MatchText,
}


def _match(body):
    given = only(body, *_MATCHES)
    if len(given) != 1:
        raise Refusal(400, f"`match` needs exactly one of {', '.join(_MATCHES)}")
    kind, value = next(iter(given.items()))
    return _MATCHES[kind](value)


def _range(body):
    given = only(body, "gt", "gte", "lt", "lte")
    if not given:
        raise Refusal(400, "`range` needs a bound")
    if all(isinstance(bound, str) for bound in given.values()):
        return edge.RangeDateTime(**given)
    return edge.RangeFloat(**given)


def _nested(body) -> edge.NestedCondition:
    given = only(body, "key", "filter")
    return edge.NestedCondition(need(given, "key"), to_filter(need(given, "filter")))


_SPECIAL = {
    "is_empty": lambda body: edge.IsEmptyCondition(need(only(body, "key"), "key")),
    "is_null": lambda body: edge.IsNullCondition(need(only(body, "key"), "key")),
    "has_id": lambda ids: edge.HasIdCondition(set(to_ids(ids))),
    "has_vector": edge.HasVectorCondition,
    "nested": _nested,
}
