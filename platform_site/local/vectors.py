"""The embedded vector service: a process of our own (knowledge/embedded) that speaks Qdrant's protocol."""

import http.client
import signal
import sys

from platform_site.local.service import Service


class VectorService(Service):
    """One vector service over the folder, with a key."""

    name = "vectors"
    title = "Vector service"
    stop_signals = ((signal.SIGTERM, 15),)  # it writes what is in memory

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "knowledge.embedded",
            "--folder",
            str(self.data),
            "--port",
            str(self.port),
        ]

    def environment(self) -> dict[str, str]:
        return super().environment() | {"VECTOR_API_KEY": self.password}

    def answers(self) -> bool:
        return get_status(self.port, "/readyz") == 200


def get_status(port: int, path: str, *, host: str = "localhost", timeout_seconds: float = 2) -> int:
    """Status of a GET on loopback; 0 if nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
