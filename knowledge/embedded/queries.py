"""Qdrant's reading requests, from JSON to the engine's own objects."""

import qdrant_edge as edge

from knowledge.embedded.filters import filter_or_none
from knowledge.embedded.refusals import Refusal, as_list, need, only, whole_number
from knowledge.embedded.vectors import to_id, to_vector

OF_PREFETCH = ("query", "using", "filter", "params", "score_threshold", "prefetch", "limit")


def to_query(body, *, among: edge.HasIdCondition | None = None) -> edge.QueryRequest:
    """The body of ``points/query``, or one of ``points/query/batch``; `among` leaves only these points."""
    given = only(body, *OF_PREFETCH, "offset", "with_vector", "with_payload")
    return edge.QueryRequest(
        whole_number(given, "limit", 10, at_least=1),
        offset=whole_number(given, "offset", 0),
        with_vector=with_vector(given, default=False),
        with_payload=with_payload(given, default=False),
        prefetches=_prefetches(given),
        **_shared(given, among),
    )


def _prefetches(given: dict) -> list | None:
    if "prefetch" not in given:
        return None
    return [_prefetch(body) for body in as_list(given["prefetch"])]


def _prefetch(body) -> edge.Prefetch:
    given = only(body, *OF_PREFETCH)
    limit = whole_number(given, "limit", 10, at_least=1)
    return edge.Prefetch(limit, prefetches=_prefetches(given), **_shared(given))


def _shared(given: dict, among: edge.HasIdCondition | None = None) -> dict:
    chosen = filter_or_none(given)
    if among:
        chosen = edge.Filter(must=[among, chosen] if chosen else [among])
    return {
        "query": _scoring(given),
        "filter": chosen,
        "params": _params(given["params"]) if "params" in given else None,
        "score_threshold": given.get("score_threshold"),
    }


def _scoring(given: dict):
    """What ranks the points: a vector, a fusion of the prefetches, a field's order, chance; None: ids."""
    if "query" not in given:
        return None
    query, using = given["query"], given.get("using", "")
    if isinstance(query, list) or (isinstance(query, dict) and "indices" in query):
        return edge.Query.Nearest(to_vector(query), using=using)
    if not isinstance(query, dict):
        raise Refusal(501, "the embedded vector service does not query by point id")
    match only(query, "nearest", "fusion", "rrf"):
        case {"nearest": vector, **rest} if not rest:
            return edge.Query.Nearest(to_vector(vector), using=using)
        case {"fusion": "rrf", **rest} if not rest:
            return edge.Fusion.Rrf(k=2)  # the server's own default
        case {"fusion": "dbsf", **rest} if not rest:
            return edge.Fusion.Dbsf()
        case {"rrf": parameters, **rest} if not rest:
            chosen = only(parameters, "k", "weights")
            return edge.Fusion.Rrf(k=chosen.get("k", 2), weights=chosen.get("weights"))
    raise Refusal(501, "the embedded vector service does not know this kind of query")


def _params(body) -> edge.SearchParams:
    return edge.SearchParams(**only(body, "hnsw_ef", "exact", "indexed_only"))


def with_payload(given: dict, *, default: bool):
    """``with_payload`` as the engine wants it: a truth value, or which fields."""
    wanted = given.get("with_payload", default)
    if isinstance(wanted, bool):
        return wanted
    if isinstance(wanted, list):
        return edge.PayloadSelector.Include(wanted)
    chosen = only(wanted, "include", "exclude")
    if len(chosen) != 1:
        raise Refusal(400, "`with_payload` needs either `include` or `exclude`")
    if "include" in chosen:
        return edge.PayloadSelector.Include(chosen["include"])
    return edge.PayloadSelector.Exclude(chosen["exclude"])


def with_vector(given: dict, *, default: bool):
    """``with_vector``: a truth value, or the names of the vectors."""
    wanted = given.get("with_vector", default)
    if isinstance(wanted, bool) or (isinstance(wanted, list) and all(isinstance(n, str) for n in wanted)):
        return wanted
    raise Refusal(400, "`with_vector` must be true, false or a list of names")


def to_scroll(body) -> edge.ScrollRequest:
    """The body of ``points/scroll``."""
    given = only(body, "limit", "offset", "filter", "with_payload", "with_vector")
    return edge.ScrollRequest(
        offset=to_id(given["offset"]) if "offset" in given else None,
        limit=whole_number(given, "limit", 10, at_least=1),
        filter=filter_or_none(given),
        with_payload=with_payload(given, default=True),
        with_vector=with_vector(given, default=False),
    )


def to_count(body) -> edge.CountRequest:
    """The body of ``points/count``."""
    given = only(body, "filter", "exact")
    return edge.CountRequest(exact=given.get("exact", True), filter=filter_or_none(given))


def to_facet(body) -> edge.FacetRequest:
    """The body of ``facet``."""
    given = only(body, "key", "limit", "filter", "exact")
    limit = whole_number(given, "limit", 10, at_least=1)
    exact = given.get("exact", False)
    return edge.FacetRequest(need(given, "key"), limit=limit, exact=exact, filter=filter_or_none(given))
