"""The engine's shards, one per collection: opened when needed, flushed in turn, closed when too many."""

import logging
import shutil
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import qdrant_edge as edge

logger = logging.getLogger(__name__)

MOST_OPEN = 256  # each holds about 33 memory maps, of which a process may have 65,530
FLUSH_SECONDS = 5.0
FULL_SCAN = 200  # points; where a filter leaves more, the keyword index is faster (the engine waits until 5,000)


@dataclass
class Shard:
    """One open shard and what its collection can hold."""

    engine: edge.EdgeShard
    folder: Path
    dense: dict[str, dict] = field(default_factory=dict)  # name -> {"size", "distance"}
    sparse: dict[str, dict] = field(default_factory=dict)  # name -> {"modifier"} or {}
    dirty_since: float | None = None  # by the monotonic clock

    def update(self, operation: edge.UpdateOperation) -> None:
        """Apply one change; it is in the write-ahead log when this returns."""
        self.dirty_since = self.dirty_since or time.monotonic()
        self.engine.update(operation)

    def flush(self) -> None:
        """Bring everything to the disk itself, which also shortens the replay after a kill."""
        self.engine.flush()
        self.dirty_since = None

    def read_vectors(self) -> None:
        """Learn the vectors from the engine's own file."""
        self.dense, self.sparse = _vectors_in(self.folder)

    @property
    def sizes(self) -> dict[str, int]:
        """The dense vectors' names and sizes."""
        return {name: config["size"] for name, config in self.dense.items()}


class Shards:
    """All shards of the service, at most MOST_OPEN of them open."""

    def __init__(self, folder: Path, most_open: int = MOST_OPEN):
        self.folder = folder
        self.most_open = most_open
        self._open: OrderedDict[str, Shard] = OrderedDict()  # least recently used first
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, dense: dict[str, dict], sparse: dict[str, dict]) -> None:
        """Make a new shard in a folder of this name, with these vectors (as in `Shard`)."""
        path = self.folder / name
        path.mkdir()
        self._keep(name, edge.EdgeShard.create(str(path), _all_cold(dense, sparse)))

    def use(self, name: str) -> Shard:
        """The shard in this folder, opened if it was closed."""
        if shard := self._open.get(name):
            self._open.move_to_end(name)
            return shard
        path = self.folder / name
        return self._keep(name, edge.EdgeShard.load(str(path), _all_cold(*_vectors_in(path))))

    def drop(self, name: str) -> None:
        """Delete a shard and its folder."""
        if shard := self._open.pop(name, None):
            shard.engine.close()
        shutil.rmtree(self.folder / name)

    def remove_unknown(self, known: set[str]) -> None:
        """Delete folders left over from a kill between catalogue and folder."""
        for path in self.folder.iterdir():
            if path.name not in known:
                shutil.rmtree(path)

    def flush_one(self, *, older_than: float = FLUSH_SECONDS) -> None:
        """Flush the shard that waits longest, if it waits that many seconds."""
        waiting = [shard for shard in self._open.values() if shard.dirty_since]
        oldest = min(waiting, key=lambda shard: shard.dirty_since, default=None)
        if oldest and time.monotonic() - oldest.dirty_since >= older_than:
            oldest.flush()

    def close_all(self) -> None:
        """Flush and close everything; a shard that fails does not keep the others from it."""
        while self._open:
            name, shard = self._open.popitem()
            try:
                _close(shard)
            except Exception:  # noqa: BLE001  the engine knows no other class
                logger.exception("shard %s did not close cleanly; its log is replayed at the next start", name)

    def _keep(self, name: str, engine: edge.EdgeShard) -> Shard:
        shard = Shard(engine, self.folder / name)
        shard.read_vectors()
        self._open[name] = shard
        if len(self._open) > self.most_open:
            _close(self._open.popitem(last=False)[1])
        return shard


def _vectors_in(folder: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    config = orjson.loads((folder / "edge_config.json").read_bytes())
    return config.get("vectors") or {}, config.get("sparse_vectors") or {}


def _all_cold(dense: dict[str, dict], sparse: dict[str, dict]) -> edge.EdgeConfig:
    """Nothing is read ahead when a shard is opened: 8 MB for a small one, where the default takes 45."""
    cold = edge.Memory.Cold
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(vector["size"], getattr(edge.Distance, vector["distance"]), memory=cold)
            for name, vector in dense.items()
        },
        sparse_vectors={
            name: edge.EdgeSparseVectorParams(
                FULL_SCAN, modifier=edge.Modifier.Idf if vector.get("modifier") == "idf" else None, memory=cold
            )
            for name, vector in sparse.items()
        },
        payload_memory=cold,
        id_tracker_memory=cold,
        max_search_threads=1,
    )


def _close(shard: Shard) -> None:
    if shard.dirty_since:
        shard.flush()
    shard.engine.close()
