"""Keeps the processes of one local Atrium running, and stops them in order."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.processes import kill_leftovers
from platform_site.local.progress import say
from platform_site.local.service import Service
from platform_site.local.web import GRACE_SECONDS, Web

FIRST_PAUSE_SECONDS = 0.5
HOPELESS_PAUSE_SECONDS = 2  # reached after two failures
LONGEST_PAUSE_SECONDS = 30
STEADY_SECONDS = 60  # after so long a run, the next end counts as the first
READY_SECONDS = 90
LOOK_SECONDS = 0.1


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
        self._renewing: Web | None = None  # whoever renews it looks after it

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
            if service is self._renewing:
                continue
            record = self._records[service.name]
            if record.again_at is None and not service.running():
                if give_up and record.pause >= HOPELESS_PAUSE_SECONDS:
                    raise LocalError(
                        f"{service.title} keeps ending. The end of {service.log}:\n{files.tail(service.log)}"
                    )
                self._ended(service, record, now)
            elif record.again_at is not None and now >= record.again_at:
                self._start_again(service, record)

    def renew(self, web: Web) -> None:
        """Put a new process in place of one that serves, losing nothing. The others are watched meanwhile.

        Raises  LocalError  the new one did not get ready; the old one serves on
        """
        self._renewing = web
        try:
            self._renew(web)
        finally:
            self._renewing = None

    def _renew(self, web: Web) -> None:
        web.start_successor()
        is_ready = self._wait(lambda: web.ready() or not web.running(), READY_SECONDS) and web.running()
        if not is_ready:
            web.put_back()
            end = files.tail(web.log)
            raise LocalError(f"{web.title}: the new process did not get ready, the old one stays. {web.log}:\n{end}")
        self._records[web.name] = _Record(began=time.monotonic())
        web.let_go()
        self._wait(web.has_left, GRACE_SECONDS)
        web.forget_old()

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.watch()
            time.sleep(LOOK_SECONDS)
        return True

    def stop(self) -> None:
        """Stop all, the last started first. Interrupted (a second Ctrl-C), it kills what is left."""
        try:
            for service in self.services:
                if isinstance(service, Web):  # all at once: each may take as long as its answers do
                    service.ask_to_stop()
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
