"""The folder that holds everything of one local Atrium: secrets, ports, logs."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platform_site.local.errors import LocalError

KEPT_LOGS = 3
PORTS = range(20_000, 32_000)  # below the kernel's own range: no outgoing connection takes a remembered one


def make_private(folder: Path) -> None:
    """Create ``folder``, closed to other users."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    make_private(path.parent)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def secret(folder: Path, name: str) -> str:
    """The password called ``name``: random, made when first asked for, then kept."""
    path = folder / "secrets" / name
    if not path.exists():
        write_private(path, secrets.token_hex(24))
    return path.read_text()


def port(folder: Path, name: str) -> int:
    """The remembered loopback port of a service; 0 before the first ``choose_port``."""
    return _ports(folder).get(name, 0)


def choose_port(folder: Path, name: str) -> int:
    """The remembered port if it is free, else another one, which is remembered from now on."""
    known = _ports(folder)
    if known.get(name) and port_is_free(known[name]):
        return known[name]
    free = (number for number in _shuffled(PORTS) if number not in known.values() and port_is_free(number))
    known[name] = next(free)
    write_private(folder / "ports.json", json.dumps(known))
    return known[name]


def port_is_free(number: int) -> bool:
    """Whether a server could listen there now. Raises PermissionError where the user may not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except PermissionError:
            raise
        except OSError:
            return False
    return True


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[Path]:
    """Hold the file's lock; the kernel frees it when the process ends, however it ends.

    Raises  BlockingIOError  another process holds it and ``wait`` is false
    """
    make_private(path.parent)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield path


def rotate(log: Path) -> None:
    """Start an empty log and keep the last three."""
    for number in range(KEPT_LOGS, 0, -1):
        older = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented for the terminal."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def _ports(folder: Path) -> dict[str, int]:
    path = folder / "ports.json"
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise LocalError(f"{path} is damaged: delete it and start again.") from None


def _shuffled(numbers: range) -> Iterator[int]:
    while True:
        yield secrets.choice(numbers)
