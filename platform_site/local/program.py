"""Atrium's own processes, as `bin/up` runs them."""

import signal
import sys
from pathlib import Path

from platform_site.local.service import Service


class Program(Service):
    """One of Atrium's own processes: web, worker or beat."""

    def __init__(self, folder: Path, name: str, command: list[str], *, grace_seconds: float):
        self.name = self.title = name
        self.stop_signals = ((signal.SIGTERM, grace_seconds),)
        self._command = [sys.executable, "-m", *command]
        super().__init__(folder)

    def start(self) -> None:
        """Start it and return; /readyz says when it serves."""
        self.process = self.spawn()

    def command(self) -> list[str]:
        return self._command


def background(folder: Path) -> list[Program]:
    """Worker and beat, in the order in which they start."""
    worker = ["celery", "-A", "platform_site", "worker", "-Q", "default,ingest", "-c", "2"]
    worker += ["--without-gossip", "--without-mingle"]  # one worker: nobody to agree with
    beat = ["celery", "-A", "platform_site", "beat", "-s", str(folder / "run" / "beat-schedule")]
    return [
        Program(folder, "worker", worker, grace_seconds=30),
        Program(folder, "beat", beat, grace_seconds=5),
    ]
