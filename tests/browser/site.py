"""Atrium as a browser meets it: one web process, which can be killed and started again on its port."""

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.conftest import until, web_command
from tests.faults.line import Line
from tests.processes import NO_TLS, Process, end, free_port, start

TOKEN_SECONDS = "0.02"  # of the demo model: slow enough to be seen streaming


class Site:
    """The web process, and the line on which it reaches the vector service."""

    def __init__(self):
        vectors = urlsplit(os.environ["QDRANT_URL"])
        self.vectors = Line(vectors.hostname, vectors.port)
        self.port = free_port()
        self.environment = {
            "PUBLIC_PORT": str(self.port),
            "QDRANT_URL": f"http://127.0.0.1:{self.vectors.port}",
            "OFFLINE_TOKEN_SECONDS": TOKEN_SECONDS,
        }
        self._process: Process | None = None

    def url(self, name: str, path: str = "/") -> str:
        """An address on a tenant's host, by its slug, or on another host below localhost."""
        return f"http://{name}.localhost:{self.port}{path}"

    def start(self) -> None:
        """Start the process; see wait()."""
        with (Path(os.environ["DATA_DIR"]) / f"test-web-{self.port}.log").open("a") as log:
            self._process = start(web_command(self.port), output=log, environment=os.environ | self.environment)

    def wait(self) -> None:
        """Until the process answers."""
        address = f"http://127.0.0.1:{self.port}/healthz"
        until(lambda: httpx.get(address, verify=NO_TLS).status_code == 200, seconds=90)

    def kill(self) -> None:
        """kill -9"""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it for sure."""
        end(self._process)
        self.vectors.cut()
