"""One search: keywords and meaning in one round trip, both scores exact and added up."""

from dataclasses import dataclass
from math import log
from uuid import UUID

from knowledge.sparse import Sparse
from knowledge.vectors.collection import Facts, dense_name, facts_of
from knowledge.vectors.connection import fetch
from tenants import keys

CANDIDATES = 16  # of each kind of search; 20 took a fifteenth longer


@dataclass(frozen=True)
class Hit:
    """One passage found.

    score     higher is better; comparable within one answer only
    cosine    to the question, -1 to 1; None where nothing dense was compared
    bm25      keyword score; 0 where no word is shared
    coverage  bm25 as a share of what a perfect passage would reach, 0 to 1
    """

    id: UUID
    kb: UUID
    document: UUID
    revision: int
    score: float
    cosine: float | None
    bm25: float
    coverage: float
    payload: dict


def search(
    *, kbs: list[UUID], dense: list[float] | None, sparse: Sparse | None, terms: int, limit: int = 8
) -> list[Hit]:
    """The passages of these knowledge bases that fit the question best, best first.

    kbs     none: no passages
    dense   the question's vector, or None: keywords alone
    sparse  the question's `sparse.query_vector`
    terms   how many distinct terms the question has
    Raises  VectorStoreDown
    Source  exact cosine and keyword scores of both searches' candidates, added up
    """
    alias = keys.collection_alias()
    facts = facts_of(alias) if kbs else None
    vectors = _usable(facts, dense, sparse) if facts else {}
    if not vectors:
        return []
    answers = _send(alias, _searches(vectors, kbs, limit))
    found = _Found(perfect=max(terms, 1) * 2.2 * log(1 + max(facts.points, 1)))
    for name, answer in zip(vectors, answers, strict=False):
        found.take(answer["points"], is_dense=name != "sparse")
    return [_to_hit(found, point) for point in _complete(alias, found, found.best(limit))]


def _usable(facts: Facts, dense: list[float] | None, sparse: Sparse | None) -> dict:
    """The question's vectors that this collection can compare, by name."""
    vectors = {}
    if dense and dense_name(len(dense)) in facts.dense:
        vectors[dense_name(len(dense))] = dense
    if sparse and sparse[0]:
        vectors["sparse"] = {"indices": sparse[0], "values": sparse[1]}
    return vectors


def _searches(vectors: dict, kbs: list[UUID], limit: int) -> list[dict]:
    """One search for one vector. For two: both candidate lists together, scored once by each."""
    only_kbs = {"filter": _of_bases(kbs)}
    scorings = [{"query": vector, "using": name} for name, vector in vectors.items()]
    if len(scorings) == 1:
        return [scorings[0] | only_kbs | {"limit": limit, "with_payload": True}]
    candidates = max(CANDIDATES, limit)
    prefetch = [scoring | only_kbs | {"limit": candidates} for scoring in scorings]
    return [
        scoring | {"prefetch": prefetch, "limit": 2 * candidates, "with_payload": scoring["using"] != "sparse"}
        for scoring in scorings  # the payload once is enough
    ]


def _of_bases(kbs: list[UUID]) -> dict:
    """Points of these knowledge bases, in the store's JSON: its client's models check and dump with each search."""
    # the engine compares with one value faster than with a list of one
    wanted = {"value": str(kbs[0])} if len(kbs) == 1 else {"any": [str(one) for one in kbs]}
    return {"must": [{"key": "kb", "match": wanted}]}


def _send(alias: str, searches: list[dict]) -> list[dict]:
    """One round trip."""
    answer = fetch(alias, "/points/query/batch", {"searches": searches})
    return answer["result"] if answer else []


class _Found:
    """Both scores of every candidate."""

    def __init__(self, perfect: float):
        self.perfect = perfect  # the keyword score of a passage that has every term, all of them rare
        self.cosine: dict[str, float] = {}
        self.bm25: dict[str, float] = {}
        self.payloads: dict[str, dict] = {}

    def take(self, points: list[dict], *, is_dense: bool) -> None:
        scores = self.cosine if is_dense else self.bm25
        for point in points:
            scores[point["id"]] = point["score"]
            if payload := point.get("payload"):
                self.payloads[point["id"]] = payload

    def coverage(self, point: str) -> float:
        return min(1.0, self.bm25.get(point, 0.0) / self.perfect)

    def score(self, point: str) -> float:
        return self.cosine.get(point, 0.0) + self.coverage(point)

    def best(self, limit: int) -> list[str]:
        def rank(point: str):
            return -self.score(point), -self.bm25.get(point, 0.0), point

        return sorted(self.cosine.keys() | self.bm25.keys(), key=rank)[:limit]


def _complete(alias: str, found: _Found, best: list[str]) -> list[str]:
    """Fetch what a point without a dense vector did not bring along (stored before there was a model)."""
    bare = [point for point in best if point not in found.payloads]
    if bare:
        answer = fetch(alias, "/points", {"ids": bare, "with_payload": True})
        for record in answer["result"] if answer else []:
            found.payloads[record["id"]] = record.get("payload") or {}
    return [point for point in best if point in found.payloads]


def _to_hit(found: _Found, point: str) -> Hit:
    payload = dict(found.payloads[point])
    return Hit(
        id=UUID(point),
        kb=UUID(payload.pop("kb")),
        document=UUID(payload.pop("document")),
        revision=payload.pop("revision"),
        score=found.score(point),
        cosine=found.cosine.get(point),
        bm25=found.bm25.get(point, 0.0),
        coverage=found.coverage(point),
        payload=payload,
    )
