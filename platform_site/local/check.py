"""`bin/test`: style, system checks and tests, against services of their own that end with the run."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from platform_site.local import environment, services
from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.processes import ROOT, kill_leftovers, marked_environment
from platform_site.local.progress import Steps, say

MODES = ("unit", "full", "faults")
WORKERS = 3  # pytest processes for everything, each with services of its own; even on two cores: many tests wait
FULL_SECONDS = 1800  # for one mass test in full; 120 otherwise
SLOTS = 8  # runs at a time on one checkout
BROWSERS = ("chromium-headless-shell", "chromium")  # the first has no window to draw: a third of the processor's time
FONTS = "fonts-liberation"  # Debian's name; without fonts, pages are empty boxes


def main(arguments: list[str]) -> int:
    """Run everything, or what the arguments narrow it to; the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mode, rest = (arguments[0], arguments[1:]) if arguments and arguments[0] in MODES else ("", arguments)
    began = time.monotonic()
    try:
        with _own_folder() as folder:
            status = _run(folder, mode, rest)
    except LocalError as error:
        sys.stderr.write(f"bin/test: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    say(f"bin/test {'passed' if status == 0 else 'FAILED'} after {time.monotonic() - began:.0f} s.")
    return status


def _run(folder: Path, mode: str, rest: list[str]) -> int:
    everything = not rest and mode in ("", "full")
    steps = Steps(7 if everything else 2 if rest else 3, done=1)
    if not rest:
        _check_style(steps)
    selection = _selection(mode, rest)
    if everything:
        with steps.step("Looking for Chromium") as step:
            step.text = _chromium(folder)
    if not browser():
        selection += ["-m", "not browser", "--ignore=tests/browser"]
    try:
        with steps.step("Starting the services") as step:
            workers = WORKERS if everything else 1
            environments = {f"gw{n}": _environment(folder / f"gw{n}") for n in range(workers)}
            step.text = "PostgreSQL, Valkey and vector service started"
        variables = environments["gw0"]
        if everything:
            _django_checks(steps, variables)
            say(f"[{steps.total}/{steps.total}] Tests")
            selection += ["-p", "tests.own_services", f"-n{workers}", "--dist=worksteal"]
            variables = variables | {"ATRIUM_TEST_WORKERS": json.dumps(environments)}
        if mode in ("full", "faults"):
            variables["ATRIUM_TEST_FULL"] = "1"
            selection.append(f"--timeout={FULL_SECONDS}")
        return _foreground([sys.executable, "-m", "pytest", *selection, *rest], variables)
    finally:
        _stop(folder)


# As bin/up runs it: style sheets and scripts as they are written. The demo model need not pause between words.
OF_TESTS = {"DEBUG": "true", "OFFLINE_TOKEN_SECONDS": "0.001"}


def _selection(mode: str, rest: list[str]) -> list[str]:
    """What pytest looks at. Benchmarks (tests/load) run only when named."""
    if mode == "faults":
        return ["tests/faults"]
    if any(word.startswith("tests") for word in rest):
        return []
    if mode == "unit":
        folders = ("isolation", "browser", "faults", "load")
        return ["-m", "not browser and not mass", *[f"--ignore=tests/{name}" for name in folders]]
    return ["--ignore=tests/load"]


def _check_style(steps: Steps) -> None:
    with steps.step("Checking style") as step:
        _tool("ruff", "check", ".")
        _tool("ruff", "format", "--check", ".")
        step.text = "Style is right"


def _django_checks(steps: Steps, variables: dict[str, str]) -> None:
    with steps.step("Running Django's checks") as step:
        _tool(sys.executable, "manage.py", "check", environment=variables)
        step.text = "Django's checks pass"
    with steps.step("Looking for missing migrations") as step:
        _tool(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", environment=variables)
        step.text = "No migration is missing"


def _environment(folder: Path) -> dict[str, str]:
    """The folder's services, started. Nothing of the person's own Atrium reaches the tests: key, service or data."""
    files.make_private(folder)
    marked = marked_environment(folder)
    ours = {name.strip() for name in _documented_variables()}
    kept = {name: value for name, value in marked.items() if name not in ours or name == "DATA_DIR"}
    return kept | environment.new_secrets() | OF_TESTS | services.start_all(folder, durable=False)


def _documented_variables() -> Iterator[str]:
    for line in (ROOT / ".env.example").read_text().splitlines():
        name, separator, _ = line.removeprefix("#").partition("=")
        if separator:
            yield name


def _tool(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run one check. Raises LocalError with its output when it fails."""
    program = command if command[0] == sys.executable else (sys.executable, "-m", *command)
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def browser() -> str | None:
    """Where the Chromium for the browser tests is."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _chromium(folder: Path) -> str:
    """Install Debian's Chromium without a window where it is missing, or at least the other; what to say about it.

    Raises  LocalError  none can be had, and CI=true forbids to skip the browser tests
    """
    if shutil.which(BROWSERS[0]):
        return "Chromium is there"
    if os.geteuid() or not shutil.which("apt-get"):
        return "Chromium is there" if browser() else _without_chromium("only root can install it, with apt")
    log = folder / "logs" / "apt.log"
    files.make_private(log.parent)
    with log.open("w") as output:
        _apt(output, "update")
        if not _apt(output, "install", "-y", "--no-install-recommends", BROWSERS[0], FONTS) and not browser():
            _apt(output, "install", "-y", "--no-install-recommends", BROWSERS[1], FONTS)  # what older Debians have
    return "Chromium installed" if browser() else _without_chromium(f"see {log}")


def _apt(output: IO[str], *arguments: str) -> bool:
    """Whether it succeeded; where there is no network, soon."""
    options = ["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"]
    done = subprocess.run(
        ["apt-get", *options, *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        check=False,
    )
    return done.returncode == 0


def _without_chromium(reason: str) -> str:
    if os.environ.get("CI") == "true":
        raise LocalError(f"Chromium is missing and cannot be installed: {reason}.")
    return f"!!! BROWSER TESTS ARE SKIPPED: no Chromium ({reason}) !!!"


def _foreground(command: list[str], variables: dict[str, str]) -> int:
    """Run in the terminal; the terminal's Ctrl-C reaches it as well, and it may finish its report."""
    child = subprocess.Popen(command, cwd=ROOT, env=variables)
    try:
        return child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.send_signal(signal.SIGINT)
            child.wait(20)
        child.kill()
        raise


@contextmanager
def _own_folder() -> Iterator[Path]:
    """An empty folder of `.atrium`, locked for this run; what a killed run left in it is ended and deleted."""
    with contextlib.ExitStack() as held:
        folder = _first_free(held)
        _clear(folder)
        yield folder


def _first_free(held: contextlib.ExitStack) -> Path:
    for number in range(1, SLOTS + 1):
        folder = ROOT / ".atrium" / ("test" if number == 1 else f"test{number}")
        with contextlib.suppress(BlockingIOError):
            held.enter_context(files.locked(folder / "lock", wait=False))
            return folder
    raise LocalError(f"{SLOTS} runs are under way already.")


def _stop(folder: Path) -> None:
    for own in folder.glob("gw*"):
        services.stop_all(own)
        kill_leftovers(own)


def _clear(folder: Path) -> None:
    _stop(folder)
    for entry in folder.iterdir():
        if entry.name != "lock":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
