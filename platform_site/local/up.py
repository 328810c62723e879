"""`bin/up`: everything Atrium needs, on this machine, until Ctrl-C."""

import argparse
import errno
import json
import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from platform_site.local import commands, demo, environment, program, restart, services, web
from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.processes import ROOT, kill_leftovers, wait_until
from platform_site.local.progress import Steps, say
from platform_site.local.service import Service
from platform_site.local.supervisor import READY_SECONDS, Supervisor

STEPS = 9  # the first, the Python packages, is bin/up's own
NEEDED_BYTES = 1_000_000_000
ORPHAN_SECONDS = 5
LOCK = "lock"


def main(arguments: list[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        _obey(_options(arguments))
    except LocalError as error:
        return _fail(str(error))
    except PermissionError as error:
        return _fail(f"{error.filename} may not be used by this user. It may belong to an earlier run as another user.")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _fail("The disk is full.")
    except KeyboardInterrupt:
        return 130
    return 0


def _obey(options: argparse.Namespace) -> None:
    folder = Path(os.environ.get("DATA_DIR") or ROOT / ".atrium").resolve()
    if options.restart:
        restart.ask(folder, is_running=lambda: _is_running(folder))
    else:
        run(folder, options)


def run(folder: Path, options: argparse.Namespace) -> None:
    """Start everything, show the URLs, and keep it running."""
    began = time.monotonic()
    with _only_one(folder, options.port):
        if options.reset:
            _reset(folder, sure=options.yes)
        steps = Steps(STEPS, done=1)
        with steps.step("Looking at disk, port and earlier runs") as step:
            _end_orphans(folder)
            _check(folder, options.port)
            step.text = f"Disk and port {options.port} are free"
        environment.begin(folder, port=options.port)
        supervisor = Supervisor(folder)
        try:
            report, is_new = _start(supervisor, steps, options)
            say(f"\nAtrium is ready after {time.monotonic() - began:.1f} s.\n")
            _show(folder, report, is_new, options.port)
            while True:
                supervisor.watch()
                restart.obey(supervisor)
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("\nStopping; running answers may finish. Ctrl-C again stops at once.")
        finally:
            supervisor.stop()
    say("Stopped.")


def _start(supervisor: Supervisor, steps: Steps, options: argparse.Namespace) -> tuple[dict, bool]:
    """Steps 3 to 9; the demo's report, and whether it is new."""
    folder = supervisor.folder
    wanted = environment.wanted_services()
    for service in services.handles(folder):
        with steps.step(f"Starting {service.title}") as step:
            step.text = _start_service(supervisor, service, wanted)
    stages = [_deploy, _start_programs]
    if "postgres" in wanted and commands.is_deployed(folder):
        stages.reverse()  # nothing to migrate: both load at the same time, which saves seconds
    for stage in stages:
        stage(supervisor, steps, options)
    watch = partial(supervisor.watch, give_up=True)
    report, is_new = demo.known(folder), False
    with steps.step("Making the demo tenants") as step:
        step.text = "Demo tenants are there"
        if report is None:
            report, is_new = demo.keep(folder, commands.run(folder, "seed_demo", watch=watch)), True
            step.text = "Demo tenants made, their documents read"
    with steps.step("Waiting for everything to answer") as step:
        _wait_until_ready(supervisor)
        step.text = "Everything answers"
    return report, is_new


def _deploy(supervisor: Supervisor, steps: Steps, options: argparse.Namespace) -> None:
    with steps.step("Bringing the database up to date") as step:
        commands.deploy(supervisor.folder)
        step.text = "Database is up to date"


def _start_programs(supervisor: Supervisor, steps: Steps, options: argparse.Namespace) -> None:
    with steps.step("Starting web, worker and beat") as step:
        folder, address = supervisor.folder, web.claimed(options.port)
        for one in [*program.background(folder), *web.processes(folder, count=options.web, address=address)]:
            supervisor.start(one)
        step.text = f"{'Web' if options.web == 1 else f'{options.web} web processes'}, worker and beat started"


def _start_service(supervisor: Supervisor, service: Service, wanted: list[str]) -> str:
    """Start an embedded service unless it is replaced; the text that says so."""
    kind = next(name for name, kind in services.KINDS.items() if isinstance(service, kind))
    if kind not in wanted:
        return f"{service.title}: as {environment.replaced_by(kind)} says"
    supervisor.start(service)
    environment.add(supervisor.folder, services.addresses(service))
    return f"{service.title} started"


def _wait_until_ready(supervisor: Supervisor) -> None:
    def ready() -> bool:
        supervisor.watch(give_up=True)
        return all(one.ready() for one in supervisor.services if isinstance(one, web.Web))

    if not wait_until(ready, READY_SECONDS):
        log = supervisor.folder / "logs" / "web.log"
        raise LocalError(f"Atrium did not get ready in {READY_SECONDS} s. The end of {log}:\n{files.tail(log)}")


def _show(folder: Path, report: dict, is_new: bool, port: int) -> None:
    demo.show(report, port=int(os.environ.get("PUBLIC_PORT") or port), passwords=is_new)
    kept = "Passwords are shown this once; they are kept in" if is_new else "Logins are in"
    say(f"\n{kept} {folder / demo.FILE}. Logs: {folder / 'logs'}. Ctrl-C stops everything.")


@contextmanager
def _only_one(folder: Path, port: int):
    """Hold the folder's lock. Raises LocalError with the other one's address when it is held."""
    lock = folder / LOCK
    try:
        with files.locked(lock, wait=False):
            lock.write_text(json.dumps({"pid": os.getpid(), "url": f"http://platform.localhost:{port}/"}))
            yield
    except BlockingIOError:
        other = json.loads(lock.read_text())
        raise LocalError(f"Already running: {other['url']} (process {other['pid']}).") from None


def _is_running(folder: Path) -> bool:
    try:
        with files.locked(folder / LOCK, wait=False):
            return False
    except BlockingIOError:
        return True


def _check(folder: Path, port: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise LocalError(f"Only {free / 1e9:.1f} GB are free at {folder}; Atrium needs at least 1 GB.")
    try:
        is_free = files.port_is_free(port)
    except PermissionError:
        raise LocalError(f"This user may not open port {port}: bin/up --port 8000.") from None
    if not is_free:
        raise LocalError(web.taken(port))


def _end_orphans(folder: Path) -> None:
    """End what a killed run left behind."""
    left = [*services.handles(folder), *program.background(folder), *web.processes(folder)]
    for service in reversed(left):
        if service.process:
            service.process.end((service.stop_signals[0][0], ORPHAN_SECONDS))
    kill_leftovers(folder)


def _reset(folder: Path, *, sure: bool) -> None:
    """Delete the data, after asking."""
    if not (folder / "env").exists():
        say(f"There is nothing to reset at {folder}.")
        return
    if not sure and not _agreed(f"Delete all data of Atrium at {folder}? Type yes: "):
        raise LocalError("Nothing was deleted.")
    _end_orphans(folder)
    for entry in folder.iterdir():
        if entry.name == LOCK or entry.name.startswith("test"):  # bin/test's own
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() == "yes"
    except EOFError:
        return False


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/up", add_help=False)  # bin/up prints the help
    parser.add_argument("--port", type=_port, default=8000)
    parser.add_argument("--web", type=_count, default=1)
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--reset", action="store_true")
    parser.add_argument("--yes", action="store_true")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError("must be a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= web.MOST:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {web.MOST}")
    return int(text)


def _fail(message: str) -> int:
    sys.stderr.write(f"bin/up: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
