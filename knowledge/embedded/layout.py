"""What a collection looks like: its vectors and indexes, as asked for and as described."""

import qdrant_edge as edge

from knowledge.embedded.refusals import Refusal, need, only, whole_number
from knowledge.embedded.shards import Shard

DISTANCES = ("Cosine", "Euclid", "Dot", "Manhattan")
CROWDED = 200_000  # points; above it a search without a graph index takes longer than a chat should wait

# How a real Qdrant may arrange its work. It changes no answer, and there is nothing to arrange here.
_ARRANGEMENT = (
    "hnsw_config",
    "optimizers_config",
    "wal_config",
    "on_disk_payload",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
)


def to_layout(body) -> tuple[dict[str, dict], dict[str, dict], dict]:
    """The body that creates a collection: dense vectors, sparse vectors, metadata."""
    given = only(body, "vectors", "sparse_vectors", "metadata", *_ARRANGEMENT)
    vectors = given.get("vectors", {})
    if isinstance(vectors, dict) and "size" in vectors:
        vectors = {"": vectors}
    dense = {name: to_dense(config) for name, config in _named(vectors, "vectors")}
    sparse = {name: to_sparse(config) for name, config in _named(given.get("sparse_vectors", {}), "sparse_vectors")}
    return dense, sparse, given.get("metadata", {})


def _named(vectors, key: str):
    if not isinstance(vectors, dict):
        raise Refusal(400, f"`{key}` must be a JSON object")
    return vectors.items()


def to_dense(body) -> dict:
    """One dense vector: its size and distance."""
    given = only(body, "size", "distance", "on_disk", "hnsw_config")
    size, distance = whole_number(given, "size", 0, at_least=1), need(given, "distance")
    if distance not in DISTANCES or size > 65_536:
        raise Refusal(400, f"a vector needs a size up to 65536 and a distance of {', '.join(DISTANCES)}")
    return {"size": size, "distance": distance}


def to_sparse(body) -> dict:
    """One sparse vector: whether its scores count rare terms more."""
    given = only(body, "modifier", "index")
    only(given.get("index", {}), "on_disk", "full_scan_threshold")
    if given.get("modifier") == "none":
        del given["modifier"]
    if given.get("modifier", "idf") != "idf":
        raise Refusal(400, "`modifier` must be none or idf")
    return {"modifier": "idf"} if "modifier" in given else {}


def new_vector(body) -> tuple[dict | None, dict | None]:
    """The body that adds a vector to a collection: a dense one or a sparse one."""
    given = only(body, "dense", "sparse")
    if len(given) != 1:
        raise Refusal(400, "a new vector is either dense or sparse")
    if "dense" in given:
        return to_dense(given["dense"]), None
    return None, to_sparse(given["sparse"])


def add_vector(name: str, dense: dict | None, sparse: dict | None) -> edge.UpdateOperation:
    """The change that adds this vector."""
    if dense:
        distance = getattr(edge.Distance, dense["distance"])
        return edge.UpdateOperation.create_dense_vector(name, dense["size"], distance)
    modifier = edge.Modifier.Idf if sparse else None
    return edge.UpdateOperation.create_sparse_vector(name, modifier)


_INDEXES = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    "uuid": edge.PayloadSchemaType.Uuid,
    "text": edge.PayloadSchemaType.Text,
}
_INDEX_NAMES = {kind: name for name, kind in _INDEXES.items()}


def to_index(body) -> edge.UpdateOperation:
    """The body that adds an index to a field."""
    given = only(body, "field_name", "field_schema")
    schema = need(given, "field_schema")
    if isinstance(schema, dict):
        schema = need(only(schema, "type", "is_tenant", "is_principal", "on_disk"), "type")
    if schema not in _INDEXES:
        raise Refusal(501, f"the embedded vector service has no index of type {schema}")
    return edge.UpdateOperation.create_field_index(need(given, "field_name"), _INDEXES[schema])


def describe(shard: Shard, metadata: dict) -> dict:
    """A collection as `GET /collections/{name}` shows it."""
    info = shard.engine.info()
    return {
        "status": "green",
        "optimizer_status": "ok",
        "warnings": [{"message": CROWDED_TEXT}] if info.points_count > CROWDED else [],
        "points_count": info.points_count,
        "indexed_vectors_count": info.indexed_vectors_count,
        "segments_count": info.segments_count,
        "config": _ENGINE_DEFAULTS | {"params": _params(shard), "metadata": metadata},
        "payload_schema": {
            name: {"data_type": _INDEX_NAMES[index.data_type], "points": index.points}
            for name, index in info.payload_schema.items()
        },
    }


CROWDED_TEXT = f"more than {CROWDED} points: time for a real Qdrant"

_ENGINE_DEFAULTS = {
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "flush_interval_sec": 5,
    },
    "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
}


def _params(shard: Shard) -> dict:
    dense = {name: {"size": v["size"], "distance": v["distance"]} for name, v in shard.dense.items()}
    sparse = {name: {"modifier": v["modifier"]} if "modifier" in v else {} for name, v in shard.sparse.items()}
    return {
        "vectors": dense[""] if set(dense) == {""} else dense,
        "sparse_vectors": sparse,
        "shard_number": 1,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "on_disk_payload": True,
    }
