"""Runs a reader in a process that can do nothing but read one open file and write lines.

The recipe: an isolated interpreter, an empty environment, no inherited descriptor but the file, its own process
group, a cap on output and on the wall clock. Inside, `child.jail` sets the limits and forbids sockets and
programs before any parser is imported.
"""

import importlib.util
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from knowledge.parsing.errors import TEXTS, Unreadable

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
_LIBRARIES = ("pypdfium2", "docx", "selectolax", "markdown_it", "charset_normalizer")
_BOOT = """
import json, sys
order = json.loads(sys.argv[1])
sys.path += order["paths"]
from child.main import main
main(order)
"""
_SIGNALS = {  # a process out of memory aborts, in C++ by one of these; a broken file rather makes it stumble
    signal.SIGXCPU: "too_slow",
    signal.SIGXFSZ: "too_large",
    signal.SIGABRT: "too_large",
    signal.SIGTRAP: "too_large",
    signal.SIGILL: "too_large",
    signal.SIGKILL: "too_large",  # the kernel, short of memory
}


class SandboxBroken(RuntimeError):
    """The limited process could not be set up on this machine. Nothing was read."""


@dataclass(frozen=True)
class Limits:
    """What one reader may use."""

    memory_bytes: int = 512 * 1024**2
    cpu_seconds: int = 20
    wall_seconds: float = 60
    output_bytes: int = 20 * 1024**2


LIMITS = Limits()


def run(file: BinaryIO, *, reader: str, limits: Limits = LIMITS, paths: tuple[Path, ...] = ()) -> list[dict]:
    """Let a reader's `read(data)` loose on a file, and give what it yields.

    reader  module to import inside, e.g. "child.pdf"
    paths   where to look for it, besides our own readers
    Raises  Unreadable, SandboxBroken
    """
    order = {
        "reader": reader,
        "file": file.fileno(),
        "parent": os.getpid(),
        "paths": [str(path) for path in (HERE, *_library_paths(), *paths)],
        "limits": asdict(limits),
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        pass_fds=(file.fileno(),),
        process_group=0,
    )
    try:
        output = _output(process, limits)
    finally:
        _end(process)
    return _lines(output, process.returncode)


def _library_paths() -> list[Path]:
    specs = [importlib.util.find_spec(name) for name in _LIBRARIES]
    return sorted({Path(spec.origin).resolve().parents[1] for spec in specs if spec and spec.origin})


def _output(process: subprocess.Popen, limits: Limits) -> bytearray:
    """All that the child writes until it ends; Unreadable if it writes or takes too much."""
    deadline = time.monotonic() + limits.wall_seconds
    output, pipe = bytearray(), process.stdout.fileno()
    ready = select.poll()  # not select(): a busy worker has descriptors beyond 1,024
    ready.register(pipe, select.POLLIN | select.POLLHUP)
    while (left := deadline - time.monotonic()) > 0:
        if not ready.poll(left * 1000):
            break
        part = os.read(pipe, 1 << 16)
        if not part:
            _wait(process, deadline)
            return output
        output += part
        if len(output) > limits.output_bytes:
            raise Unreadable("too_large")
    raise Unreadable("too_slow")


def _wait(process: subprocess.Popen, deadline: float) -> None:
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise Unreadable("too_slow") from error


def _end(process: subprocess.Popen) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still this group's
        process.wait()
    process.stdout.close()


def _lines(output: bytearray, returncode: int) -> list[dict]:
    if returncode < 0:
        logger.warning("a reader was ended", extra={"signal": -returncode})
        raise Unreadable(_SIGNALS.get(-returncode, "damaged"))
    try:
        items = [json.loads(line) for line in output.splitlines()]
    except (ValueError, RecursionError) as error:
        raise Unreadable("damaged") from error
    if not all(isinstance(item, dict) for item in items):
        raise Unreadable("damaged")
    if items and "failure" in items[-1]:
        raise _failure(items[-1])
    if returncode:
        raise Unreadable("damaged")
    return items


def _failure(item: dict) -> Exception:
    logger.info("a reader gave up", extra={"failure": str(item)[:300]})
    if item["failure"] == "broken":
        return SandboxBroken(str(item.get("detail"))[:200])
    code, reason = item["failure"], item.get("reason")
    return Unreadable(code if code in TEXTS else "damaged", reason if isinstance(reason, str) else "")
