"""The web processes of `bin/up`: all answer at one address, so one can end while its successor already serves."""

import errno
import signal
import socket
from pathlib import Path

from platform_site.local.errors import LocalError
from platform_site.local.processes import Process
from platform_site.local.program import Program
from platform_site.local.vectors import get_status

MOST = 8
GRACE_SECONDS = 35  # running turns finish
LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # uvicorn's own


class Web(Program):
    """One web process. It also listens at a port of its own, where it alone says whether it is ready."""

    def __init__(self, folder: Path, number: int, address: socket.socket | None):
        """address  the socket of all web processes; None to find a running one"""
        name = "web" if number == 1 else f"web-{number}"
        super().__init__(folder, name, ["platform_site.local.listening"], grace_seconds=GRACE_SECONDS)
        self._address = address
        self._own_port = 0
        self._sockets: list[socket.socket] = []
        self._leaving: Process | None = None

    def spawn(self) -> Process:
        with bound(0) as own:
            self._own_port = own.getsockname()[1]
            self._sockets = [self._address, own]
            return super().spawn()

    def command(self) -> list[str]:
        return [*super().command(), *(str(inherited.fileno()) for inherited in self._sockets)]

    def sockets(self) -> list[socket.socket]:
        return self._sockets

    def ready(self) -> bool:
        """Whether this very process serves, with all that it needs."""
        return get_status(self._own_port, "/readyz", timeout_seconds=5) == 200

    def start_successor(self) -> None:
        """Start another process beside the one that serves."""
        self._leaving = self.process
        self.start()

    def put_back(self) -> None:
        """Keep the old process: its successor is of no use."""
        self.process.kill()
        self.process, self._leaving = self._leaving, None
        self.process.remember(self.pid_file)

    def let_go(self) -> None:
        """Ask the old process to finish its work."""
        self._leaving.tell(signal.SIGTERM)

    def has_left(self) -> bool:
        """Whether the old process has ended."""
        return not self._leaving.alive()

    def forget_old(self) -> None:
        """Kill what is left of the old process."""
        self._leaving.kill()
        self._leaving = None

    def ask_to_stop(self) -> None:
        """Begin to stop, while others do the same."""
        if self.process:
            self.process.tell(signal.SIGTERM)

    def stop(self) -> None:
        if self._leaving:
            self._leaving.end(*self.stop_signals)
        super().stop()


def bound(port: int) -> socket.socket:
    """A socket of loopback that takes no connection before a web process listens. Raises OSError: the port is taken."""
    address = socket.socket()
    address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    address.bind((LOOPBACK, port))
    return address


def claimed(port: int) -> socket.socket:
    """The address of all web processes. It listens at once: a port that is only bound, another program may still take.

    Who comes before the first web process takes connections is kept waiting. Raises LocalError: the port is taken.
    """
    try:
        address = bound(port)
        address.listen(BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise LocalError(taken(port)) from None
    return address


def taken(port: int) -> str:
    """What to say of a port that another program has."""
    return f"Port {port} is taken by another program: bin/up --port {port + 1}."


def processes(folder: Path, *, count: int = MOST, address: socket.socket | None = None) -> list[Web]:
    """The folder's web processes; running ones are found."""
    return [Web(folder, number, address) for number in range(1, count + 1)]
