"""What the embedded services have in common."""

import os
import signal
import socket
from abc import ABC, abstractmethod
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.processes import Process, marked_environment, wait_until


class Service(ABC):
    """A server on loopback whose data live in the folder. A second handle on it finds the running one.

    It ends when the process that started it ends, however that happens.
    """

    name: str
    title: str
    start_seconds = 60
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10),)

    def __init__(self, folder: Path, *, durable: bool = True):
        """durable  false for tests: what a power cut would lose need not be on disk"""
        self.folder, self.durable = folder, durable
        self.data = folder / self.name
        self.log = folder / "logs" / f"{self.name}.log"
        self.pid_file = folder / "run" / f"{self.name}.pid"
        self.process = Process.recall(self.pid_file)

    @property
    def port(self) -> int:
        return files.port(self.folder, self.name)

    @property
    def password(self) -> str:
        return files.secret(self.folder, self.name)

    def running(self) -> bool:
        return bool(self.process and self.process.alive())

    def start(self) -> None:
        """Return when it answers, at once if it already does. Raises LocalError with the end of its log."""
        if self.running() and wait_until(self.answers, 5):
            return
        self.stop()
        files.make_private(self.folder)
        self.prepare()
        for _ in range(2):  # somebody may take the port between our look and its start
            files.choose_port(self.folder, self.name)
            self.process = self.spawn()
            wait_until(lambda: self.answers() or not self.running(), self.start_seconds)
            if self.running() and self.answers():
                return
            self.stop()
        raise LocalError(f"{self.title} did not start. The end of {self.log}:\n{files.tail(self.log)}")

    def stop(self) -> None:
        if self.process:
            self.process.end(*self.stop_signals)
        self.pid_file.unlink(missing_ok=True)

    def spawn(self) -> Process:
        return Process.start(
            self.command(),
            pid_file=self.pid_file,
            log=self.log,
            environment=self.environment(),
            death_signal=self.stop_signals[0][0],
            privileges=self.privileges(),
            sockets=self.sockets(),
        )

    def prepare(self) -> None:
        """Make the data folder if there is none."""
        files.make_private(self.data)

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def answers(self) -> bool:
        """Whether it serves requests now; one without a door does while it runs."""
        return self.running()

    def environment(self) -> dict[str, str]:
        return marked_environment(self.folder)

    def privileges(self) -> list[str]:
        return []

    def sockets(self) -> list[socket.socket]:
        """What it inherits."""
        return []


def as_root() -> bool:
    """Whether we are root, as whom PostgreSQL refuses to run."""
    return os.geteuid() == 0
