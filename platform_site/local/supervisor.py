"""Keeps the processes of one local Atrium running, and stops them in order."""

import contextlib
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.processes import kill_leftovers
from platform_site.local.progress import say
from platform_site.local.service import Service

FIRST_PAUSE_SECONDS = 0.5
HOPELESS_PAUSE_SECONDS = 2  # reached after two failures
LONGEST_PAUSE_SECONDS = 30
STEADY_SECONDS = 60  # after so long a run, the next end counts as the first


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


def programs(folder: Path, *, port: int) -> list[Program]:
    """Worker, beat and web, in the order in which they start."""
    web = ["uvicorn", "platform_site.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
    web += ["--ws", "websockets-sansio", "--ws-max-size", "65536", "--ws-per-message-deflate", "false"]
    web += ["--lifespan", "on", "--timeout-graceful-shutdown", "5"]
    worker = ["celery", "-A", "platform_site", "worker", "-Q", "default,ingest", "-c", "2"]
    worker += ["--without-gossip", "--without-mingle"]  # one worker: nobody to agree with
    beat = ["celery", "-A", "platform_site", "beat", "-s", str(folder / "run" / "beat-schedule")]
    return [
        Program(folder, "worker", worker, grace_seconds=30),
        Program(folder, "beat", beat, grace_seconds=5),
        Program(folder, "web", web, grace_seconds=35),  # running turns finish
    ]


@dataclass
class _Record:
    """How one service did lately."""

    began: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS
    again_at: float | None = None  # it ended, and starts again then


class Supervisor:
    """Starts services in order, starts again what ends, and stops all in reverse."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.services: list[Service] = []  # in the order in which they started
        self._records: dict[str, _Record] = {}

    def start(self, service: Service) -> None:
        """Start it and keep it running from now on. Raises LocalError if it does not start."""
        files.rotate(service.log)
        self.services.append(service)
        self._records[service.name] = _Record(began=time.monotonic())
        service.start()

    def watch(self, *, give_up: bool = False) -> None:
        """One round: start again what ended, waiting longer each time it ends soon.

        Raises  LocalError  with ``give_up``: one of them ended three times in a row
        """
        now = time.monotonic()
        for service in self.services:
            record = self._records[service.name]
            if record.again_at is None and not service.running():
                if give_up and record.pause >= HOPELESS_PAUSE_SECONDS:
                    raise LocalError(
                        f"{service.title} keeps ending. The end of {service.log}:\n{files.tail(service.log)}"
                    )
                self._ended(service, record, now)
            elif record.again_at is not None and now >= record.again_at:
                self._start_again(service, record)

    def stop(self) -> None:
        """Stop all, the last started first. Interrupted (a second Ctrl-C), it kills what is left."""
        try:
            for service in reversed(self.services):
                service.stop()
        except KeyboardInterrupt:
            for service in reversed(self.services):
                if service.process:
                    service.process.kill()
        kill_leftovers(self.folder)

    def _ended(self, service: Service, record: _Record, now: float) -> None:
        if now - record.began > STEADY_SECONDS:
            record.pause = FIRST_PAUSE_SECONDS
        how = service.process.how_it_ended() if service.process else "did not start"
        self._log(f"{service.title} {how}; starting it again in {record.pause:g} s ({service.log})")
        if service.process:
            service.process.kill()  # children that outlived it
        record.again_at = now + record.pause
        record.pause = min(record.pause * 2, LONGEST_PAUSE_SECONDS)

    def _start_again(self, service: Service, record: _Record) -> None:
        record.again_at, record.began = None, time.monotonic()
        try:
            service.start()
        except (LocalError, OSError) as error:  # a full disk, for one: it may pass
            self._log(str(error).splitlines()[0])

    def _log(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        say(line)
        with contextlib.suppress(OSError), (self.folder / "logs" / "up.log").open("a") as log:
            log.write(f"{line}\n")
