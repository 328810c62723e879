"""The vector service as a process: starting, stopping, being killed, what is on the disk."""

import subprocess
import sys
import threading
import time
from uuid import UUID, uuid4

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException

from tests.knowledge.points import make, point, point_alias, refused
from tests.knowledge.vector_service import VectorService
from tests.processes import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


def test_it_starts_and_stops_fast(fresh_service):
    assert fresh_service.stop() == 0
    assert min(restart(fresh_service) for _ in range(3)) < 2  # 0.3 s on a quiet machine


def test_it_needs_no_django():
    program = "import sys, knowledge.embedded.__main__; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def restart(service: VectorService) -> float:
    if service.process.poll() is None:
        service.stop()
    return service.start()


def test_a_second_one_on_the_same_folder_or_port_says_why_not(fresh_service, tmp_path):
    other = VectorService(fresh_service.folder)
    assert say(other) == (1, f"Another vector service uses {fresh_service.folder}.\n")
    other = VectorService(tmp_path / "elsewhere")
    other.port = fresh_service.port
    assert say(other) == (1, f"Port {other.port} cannot be used: Address already in use.\n")
    other.api_key = ""
    assert say(other) == (1, "VECTOR_API_KEY is not set.\n")


def say(service: VectorService) -> tuple[int, str]:
    process = service.spawn(stderr=subprocess.PIPE, text=True)
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


def test_a_graceful_stop_keeps_everything(fresh_service):
    client = fresh_service.client()
    make(client, "kept")
    point_alias(client, "alias", "kept")
    client.upsert("kept", [point(n) for n in range(100)])
    client.create_vector_name(
        "kept",
        "later",
        models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=2, distance="Cosine")),
    )
    assert restart(fresh_service) < 5
    assert client.count("alias").count == 100
    info = client.get_collection("kept")
    assert set(info.config.params.vectors) == {"dense", "later"}
    assert set(info.payload_schema) == {"kb", "document", "revision"}
    assert info.config.metadata == {"sparse_version": 1}


def test_nothing_acknowledged_is_lost_by_kill_9(fresh_service):
    make(fresh_service.client(), "kept")
    acknowledged: set[int] = set()
    for attempt in range(3):
        writer = threading.Thread(target=write_until_it_fails, args=(fresh_service, attempt, acknowledged))
        writer.start()
        time.sleep(0.7)
        fresh_service.kill()
        writer.join()
        fresh_service.start()
        found = all_ids(fresh_service.client(), "kept")
        assert acknowledged <= found
    assert len(acknowledged) > 500


def write_until_it_fails(service: VectorService, attempt: int, acknowledged: set[int]) -> None:
    client = service.client()
    for batch in range(10_000):
        ids = range(attempt * 10**6 + batch * 50, attempt * 10**6 + batch * 50 + 50)
        try:
            client.upsert("kept", [point(n) for n in ids])
        except ResponseHandlingException:
            return
        acknowledged.update(ids)


def all_ids(client: QdrantClient, name: str) -> set[int]:
    ids, offset = set(), None
    while True:
        records, offset = client.scroll(name, limit=1000, offset=offset, with_payload=False)
        ids.update(UUID(record.id).int for record in records)
        if offset is None:
            return ids


def test_a_refused_write_does_no_harm_to_what_is_replayed(fresh_service):
    client = fresh_service.client()
    make(client, "kept")
    client.upsert("kept", [point(1)])
    refused(400, client.upsert, "kept", [point(2, dense=(1.0,))])
    client.upsert("kept", [point(3)])
    fresh_service.kill()
    fresh_service.start()
    assert all_ids(client, "kept") == {1, 3}


def test_what_a_kill_left_half_made_is_cleared_away(fresh_service):
    client = fresh_service.client()
    make(client, "kept")
    leftover = fresh_service.folder / "shards" / uuid4().hex
    leftover.mkdir()
    (leftover / "edge_config.json").write_text("{}")
    fresh_service.kill()
    fresh_service.start()
    assert not leftover.exists()
    assert client.count("kept").count == 0


def test_dropping_a_collection_leaves_no_file_of_it(fresh_service):
    client = fresh_service.client()
    make(client, "gone")
    client.upsert("gone", [point(1, text="secret-canary")])
    client.delete_collection("gone")
    files = [path for path in fresh_service.folder.rglob("*") if path.is_file()]
    assert not any(b"secret-canary" in path.read_bytes() for path in files)
    assert not list((fresh_service.folder / "shards").iterdir())


def test_what_was_written_is_flushed_within_seconds(fresh_service):
    client = fresh_service.client()
    make(client, "kept")
    client.upsert("kept", [point(n) for n in range(200)])
    before = written(fresh_service)
    deadline = time.monotonic() + 10
    while written(fresh_service) == before:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def written(service: VectorService) -> float:
    """When the newest file of a segment was written."""
    return max(path.stat().st_mtime for path in service.folder.rglob("segments/**/*") if path.is_file())
