"""Processes: starting them so that none is left behind, and knowing them again by their pid files."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from platform_site.local import folder as files

ROOT = Path(__file__).resolve().parents[2]
MARK = "ATRIUM_FOLDER"  # in the environment of everything we start; tells our leftovers from other processes


class Process:
    """A process of ours: started here, or found again by its pid file.

    The start time (clock ticks since boot) tells it from a later process with the same pid.
    """

    def __init__(self, pid: int, started: int, child: subprocess.Popen | None = None):
        self.pid, self.started, self._child = pid, started, child

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        pid_file: Path,
        log: Path,
        environment: dict[str, str],
        death_signal: signal.Signals = signal.SIGTERM,
        privileges: Sequence[str] = (),
        sockets: Sequence[socket.socket] = (),
    ) -> "Process":
        """Run ``command`` in a session of its own, so that the terminal's Ctrl-C does not reach it.

        death_signal  the kernel sends it when the thread that called this ends, even by kill -9
        privileges    options of setpriv(1), to run as another user
        sockets       it inherits them, under the same numbers
        """
        files.make_private(log.parent)
        if setpriv := shutil.which("setpriv"):
            death = death_signal.name.removeprefix("SIG")
            command = [setpriv, "--pdeathsig", death, *privileges, *command]
        with log.open("ab") as output:
            child = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[inherited.fileno() for inherited in sockets],
            )
        process = cls(child.pid, _start_time(child.pid) or 0, child)
        process.remember(pid_file)
        return process

    def remember(self, pid_file: Path) -> None:
        """Let the pid file name this process."""
        files.write_private(pid_file, json.dumps({"pid": self.pid, "started": self.started}))

    @classmethod
    def recall(cls, pid_file: Path) -> "Process | None":
        """The process that the pid file names, if that very process still runs."""
        try:
            known = json.loads(pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        process = cls(known["pid"], known["started"])
        return process if process.alive() else None

    def alive(self) -> bool:
        if self._child:
            return self._child.poll() is None
        return _start_time(self.pid) == self.started

    def how_it_ended(self) -> str:
        """For the log line about a process that ended unasked."""
        code = self._child.returncode if self._child else None
        if code is None:
            return "ended"
        return f"killed by signal {-code}" if code < 0 else f"ended with status {code}"

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self, *steps: tuple[signal.Signals, float]) -> None:
        """Send each signal in turn, waiting up to its seconds; then kill what is left of its group."""
        for number, seconds in steps:
            if not self.alive():
                break
            self.tell(number)
            wait_until(lambda: not self.alive(), seconds)
        self.kill()

    def kill(self) -> None:
        """Kill it and its children now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.alive(), 5)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll ``condition`` until it holds or the time is over; whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def marked_environment(folder: Path) -> dict[str, str]:
    """The environment for everything that runs for ``folder``."""
    return os.environ | {MARK: str(folder), "DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}


def kill_leftovers(folder: Path) -> None:
    """Kill whatever earlier runs for ``folder`` left behind, their children included."""
    mark = f"{MARK}={folder}".encode()
    _kill_where(lambda process: mark in _read(process / "environ").split(b"\0"))


def kill_by_command(word: str) -> None:
    """Kill the processes whose command line contains ``word``."""
    _kill_where(lambda process: word.encode() in _read(process / "cmdline"))


def _kill_where(condition: Callable[[Path], bool]) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid() and condition(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of a live process; None if there is none (a zombie is none)."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile, or another user's
        return b""
