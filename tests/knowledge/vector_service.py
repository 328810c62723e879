"""The vector service as a real process of its own, for the tests that need one."""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from qdrant_client import QdrantClient

from tests.processes import NO_TLS, ROOT, free_port


class VectorService:
    """`python -m knowledge.embedded` on a free port; to be started, stopped and killed at will."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.api_key = secrets.token_hex(16)
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Seconds until it answers."""
        started = time.perf_counter()
        self.process = self.spawn()
        while time.perf_counter() - started < 10:
            try:
                httpx.get(f"{self.url}/readyz", trust_env=False, verify=NO_TLS)
                return time.perf_counter() - started
            except httpx.TransportError:
                assert self.process.poll() is None, "the vector service ended at its start"
                time.sleep(0.01)
        raise AssertionError("the vector service does not answer")

    def spawn(self, **options) -> subprocess.Popen:
        """One more process for the same folder and port."""
        command = [sys.executable, "-m", "knowledge.embedded"]
        command += ["--folder", str(self.folder), "--port", str(self.port)]
        environment = {"VECTOR_API_KEY": self.api_key, "PATH": os.environ["PATH"]}
        return subprocess.Popen(command, cwd=ROOT, env=environment, **options)

    def stop(self) -> int:
        """Ask it to leave; its exit status."""
        self.process.terminate()
        return self.process.wait(10)

    def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        self.process.wait(10)

    def client(self, **options) -> QdrantClient:
        """A client of its own."""
        return open_client(self.url, self.api_key, **options)


def open_client(url: str, api_key: str, **options) -> QdrantClient:
    """qdrant-client with kept connections, also to the loopback address."""
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=20)
    options = {"check_compatibility": False, "limits": limits, "timeout": 30} | options
    return QdrantClient(url=url, api_key=api_key or None, **options)


@pytest.fixture
def fresh_service(tmp_path):
    """A service of the test's own, running, empty."""
    service = VectorService(tmp_path / "vectors")
    service.start()
    yield service
    service.kill()


@pytest.fixture(scope="session")
def vector_service(tmp_path_factory):
    """One service for all tests that leave others' collections alone."""
    service = VectorService(tmp_path_factory.mktemp("vectors"))
    service.start()
    yield service
    service.kill()


@pytest.fixture(scope="session", params=["embedded", *(["qdrant"] if "TEST_QDRANT_URL" in os.environ else [])])
def vector_store(request):
    """(url, api key) of each implementation: ours, and a real Qdrant if TEST_QDRANT_URL names one."""
    if request.param == "qdrant":
        return os.environ["TEST_QDRANT_URL"], os.environ.get("TEST_QDRANT_API_KEY", "")
    service = request.getfixturevalue("vector_service")
    return service.url, service.api_key
