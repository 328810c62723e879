"""Qdrant's writing requests, from JSON to changes that the engine can apply one after the other."""

import qdrant_edge as edge

from knowledge.embedded.filters import to_filter
from knowledge.embedded.refusals import Refusal, need, only
from knowledge.embedded.shards import Shard
from knowledge.embedded.vectors import check_fits, to_id, to_ids, to_vector

MOST_POINTS = 500  # in one request: the engine holds up everybody else while it writes


def to_upsert(body, shard: Shard) -> edge.UpdateOperation:
    """The body of ``PUT points``, as a list of points or as columns; refused whole if one point is wrong."""
    given = only(body, "points", "batch")
    if len(given) != 1:
        raise Refusal(400, "expected either `points` or `batch`")
    rows = _rows(given["batch"]) if "batch" in given else given["points"]
    if not isinstance(rows, list):
        raise Refusal(400, "`points` must be a list")
    if len(rows) > MOST_POINTS:
        raise Refusal(413, f"at most {MOST_POINTS} points in one request, got {len(rows)}")
    sizes, sparse = shard.sizes, set(shard.sparse)
    return edge.UpdateOperation.upsert_points([_point(row, sizes, sparse) for row in rows])


def _point(row, sizes: dict[str, int], sparse: set[str]) -> edge.Point:
    given = only(row, "id", "vector", "payload")
    named = need(given, "vector")
    named = named if isinstance(named, dict) and "indices" not in named else {"": named}
    vectors = {name: to_vector(value) for name, value in named.items()}
    for name, vector in vectors.items():
        check_fits(name, vector, sizes, sparse)
    return edge.Point(to_id(need(given, "id")), vectors, _payload(given.get("payload", {})))


def _payload(value) -> dict:
    if not isinstance(value, dict):
        raise Refusal(400, "`payload` must be a JSON object")
    return value


def _rows(batch) -> list[dict]:
    given = only(batch, "ids", "vectors", "payloads")
    ids, columns = need(given, "ids"), need(given, "vectors")
    if not isinstance(columns, dict):
        columns = {"": columns}
    payloads = given.get("payloads") or [None] * len(ids)
    if any(len(column) != len(ids) for column in (payloads, *columns.values())):
        raise Refusal(400, "`ids`, `vectors` and `payloads` must have one length")
    return [
        {"id": id_, "vector": {name: column[n] for name, column in columns.items()}, "payload": payloads[n]}
        for n, id_ in enumerate(ids)
    ]


def to_delete(body, shard: Shard) -> edge.UpdateOperation:
    """The body of ``points/delete``."""
    return _chosen(
        only(body, "points", "filter"),
        edge.UpdateOperation.delete_points,
        edge.UpdateOperation.delete_points_by_filter,
    )


def to_set_payload(body, shard: Shard) -> edge.UpdateOperation:
    """The body of ``POST points/payload``: fields to add or change."""
    given = only(body, "payload", "points", "filter", "key")
    return _chosen(
        given,
        edge.UpdateOperation.set_payload,
        edge.UpdateOperation.set_payload_by_filter,
        _payload(need(given, "payload")),
        given.get("key"),
    )


def to_overwrite_payload(body, shard: Shard) -> edge.UpdateOperation:
    """The body of ``PUT points/payload``: the whole payload anew."""
    given = only(body, "payload", "points", "filter", "key")
    return _chosen(
        given,
        edge.UpdateOperation.overwrite_payload,
        edge.UpdateOperation.overwrite_payload_by_filter,
        _payload(need(given, "payload")),
        given.get("key"),
    )


def to_delete_payload(body, shard: Shard) -> edge.UpdateOperation:
    """The body of ``points/payload/delete``: fields to take out."""
    given = only(body, "keys", "points", "filter")
    return _chosen(
        given,
        edge.UpdateOperation.delete_payload,
        edge.UpdateOperation.delete_payload_by_filter,
        need(given, "keys"),
    )


def to_clear_payload(body, shard: Shard) -> edge.UpdateOperation:
    """The body of ``points/payload/clear``."""
    return _chosen(
        only(body, "points", "filter"),
        edge.UpdateOperation.clear_payload,
        edge.UpdateOperation.clear_payload_by_filter,
    )


def _chosen(given: dict, by_ids, by_filter, *details) -> edge.UpdateOperation:
    """The change to the points that a request means: by ids or by filter, never both, never neither."""
    if ("points" in given) == ("filter" in given):
        raise Refusal(400, "expected either `points` or `filter`")
    if "points" in given:
        return by_ids(to_ids(given["points"]), *details)
    return by_filter(to_filter(given["filter"]), *details)


_KINDS = {
    "upsert": to_upsert,
    "delete": to_delete,
    "set_payload": to_set_payload,
    "overwrite_payload": to_overwrite_payload,
    "delete_payload": to_delete_payload,
    "clear_payload": to_clear_payload,
}


def to_batch(body, shard: Shard) -> list[edge.UpdateOperation]:
    """The body of ``points/batch``: several changes, all of them well formed before the first is applied."""
    operations = need(only(body, "operations"), "operations")
    changes = []
    for operation in operations:
        given = only(operation, *_KINDS)
        if len(given) != 1:
            raise Refusal(400, f"an operation needs exactly one of {', '.join(_KINDS)}")
        kind, details = next(iter(given.items()))
        changes.append(_KINDS[kind](details, shard))
    return changes
