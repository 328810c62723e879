"""Vectors and points between JSON and the engine."""

from uuid import UUID

import qdrant_edge as edge

from knowledge.embedded.refusals import Refusal, need, only

_LARGEST = 3.4e38  # beyond it a 32-bit float is infinite, and a score of infinity is no JSON


def to_vector(value) -> list | edge.SparseVector:
    """One dense vector (a list of numbers) or one sparse vector (``indices`` and ``values``)."""
    if isinstance(value, list):
        _check_numbers(value)
        return value
    given = only(value, "indices", "values")
    indices, values = need(given, "indices"), need(given, "values")
    if not isinstance(indices, list) or not isinstance(values, list) or len(indices) != len(values):
        raise Refusal(400, "a sparse vector needs as many indices as values")
    if len(set(indices)) != len(indices):
        raise Refusal(400, "the indices of a sparse vector must be unique")
    _check_numbers(values)
    return edge.SparseVector(indices, values)


def _check_numbers(values: list) -> None:
    if not values:
        return
    if any(isinstance(value, (list, dict)) for value in values[:1]):
        raise Refusal(501, "the embedded vector service does not know multivectors")
    try:
        fine = max(values) <= _LARGEST and min(values) >= -_LARGEST
    except TypeError:
        fine = False
    if not fine:
        raise Refusal(400, "a vector must hold numbers that fit 32 bits")


def check_fits(name: str, vector, dense: dict[str, int], sparse: set[str]) -> None:
    """Refuse a vector that the collection cannot hold, before anything is written.

    dense   names and sizes of the collection's dense vectors
    sparse  names of its sparse vectors
    """
    if name not in dense and name not in sparse:
        raise Refusal(400, f"Wrong input: Not existing vector name error: {name}")
    if isinstance(vector, edge.SparseVector) != (name in sparse):
        raise Refusal(400, f"Wrong input: vector {name} is of the other kind, dense or sparse")
    if name in dense and len(vector) != dense[name]:
        text = f"Wrong input: Vector dimension error: expected dim: {dense[name]}, got {len(vector)}"
        raise Refusal(400, text)


def to_id(value) -> int | UUID:
    """A point's id: a whole number or a UUID."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise Refusal(400, f"{value!r} is not a valid point id: use a whole number or a UUID")


def to_ids(values) -> list[int | UUID]:
    """A list of point ids."""
    if not isinstance(values, list):
        raise Refusal(400, "point ids must be a list")
    return [to_id(value) for value in values]


def scored_as_json(point) -> dict:
    """One point of an answer to a query."""
    body = {"id": point.id, "version": point.version, "score": point.score}
    return _with_parts(body, point)


def record_as_json(point) -> dict:
    """One point as it is stored."""
    return _with_parts({"id": point.id}, point)


def _with_parts(body: dict, point) -> dict:
    if point.payload is not None:
        body["payload"] = point.payload
    if point.vector is not None:
        body["vector"] = _vectors_as_json(point.vector)
    return body


def _vectors_as_json(vector):
    if isinstance(vector, dict):
        return {name: _vectors_as_json(part) for name, part in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    return vector
