"""Starts real processes for tests and ends them for sure."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests import forking

ROOT = Path(__file__).resolve().parent.parent
Process = subprocess.Popen | forking.Fork
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx reads all authorities for each client: 40 ms of a processor


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_of(port: int) -> int:
    """The number of the web process that was told to listen on the port."""
    found = subprocess.run(["pgrep", "-f", f"uvicorn.*--port {port} "], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


@contextmanager
def running(command: list[str], *, log: Path, fresh: bool = False, **environment: str) -> Iterator[Process]:
    """The command in a process group of its own, its output in ``log``; ended with the block.

    fresh  it imports its libraries itself, as everywhere but in tests; otherwise it may begin as a fork that has them,
           but never in benchmarks
    """
    with log.open("w") as output:
        process = start(command, output=output, environment={**os.environ, **environment}, fresh=fresh)
    try:
        yield process
    finally:
        end(process)


def start(command: list[str], *, output: IO[str], environment: dict[str, str], fresh: bool = False) -> Process:
    """Start the command in a process group of its own."""
    if not fresh and "PYTEST_VERSION" in os.environ and forking.POSSIBLE and command[:2] == [sys.executable, "-m"]:
        return forking.start(command, output=output.fileno(), environment=environment)
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, process_group=0)


def end(process: Process, *, seconds: float = 10) -> None:
    """Ask the group to stop, then make it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
