"""Starts our Python programs in a tenth of their time: as forks of a process that has imported the libraries.

A fork is a child of the test run like any command, with an environment, log, process group, signals and exit status of
its own, and ``ps`` shows it as that command. It imports our own code and the settings itself, because those read the
environment. Where that matters, what bin/up starts is started for real (tests/faults/test_restart.py).
"""

import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POSSIBLE = sys.platform == "linux"
MOST_BYTES = 128 * 1024  # of a request
ROOM = 1000  # bytes for a command, as ps shows it
PR_SET_CHILD_SUBREAPER = 36
# Foreign, and the same in every environment: nothing here reads Django's settings or starts a thread.
LIBRARIES = [
    "litellm", "litellm.litellm_core_utils.litellm_logging", "litellm.llms.openai.common_utils",
    "openai.resources", "openai.types.responses", "uvicorn.main", "uvicorn.logging", "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.websockets.websockets_sansio_impl",
    "celery.bin.celery", "celery.app.amqp", "celery.concurrency.prefork", "celery.apps.worker", "celery.apps.beat",
    "kombu.transport.redis", "uvicorn.lifespan.on", "django.db.backends.postgresql.base",
    "django.core.handlers.asgi", "django.core.cache.backends.redis", "django.contrib.staticfiles.handlers",
    "django.template.loader_tags", "django.views.debug", "psycopg_pool", "channels.routing", "channels_redis.core",
    "rest_framework", "pydantic_settings", "dj_email_url", "whitenoise.middleware", "qdrant_client", "numpy", "httpx",
    "jinja2", "cryptography.hazmat.primitives.ciphers.aead", "redis.asyncio",
]  # fmt: skip
_asking = threading.Lock()
_server: tuple[socket.socket, subprocess.Popen] | None = None


class Fork:
    """A program that runs as a fork; of subprocess.Popen, what our tests use."""

    def __init__(self, command: list[str], pid: int):
        self.args, self.pid, self.returncode = command, pid, None

    def poll(self) -> int | None:
        """Its exit status, minus the number of the signal that killed it, or None while it runs."""
        return self._look(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises TimeoutExpired."""
        if timeout is None:
            return self._look(0)
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.005)
        return self.returncode

    def _look(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM"""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9"""
        self.send_signal(signal.SIGKILL)


def start(command: list[str], *, output: int, environment: dict[str, str]) -> Fork:
    """Run ``[sys.executable, "-m", module, …]`` in a process group of its own.

    output  number of the open file that takes what it prints
    """
    global _server
    with _asking:
        channel, _ = server = _server or _start_server()
        _server = None
        request = json.dumps({"command": command, "environment": environment}).encode()
        _adopt_orphans(True)  # the fork's parent ends at once, so that it becomes our child
        try:
            socket.send_fds(channel, [request], [output])
            pid = int(channel.recv(64) or 0)
        except BaseException:  # a test's timeout, perhaps: the answer to come is nobody else's
            channel.close()
            raise
        finally:
            _adopt_orphans(False)
        if not pid:
            raise RuntimeError("the process that forks has ended")
        _server = server
    return Fork(command, pid)


def _start_server() -> tuple[socket.socket, subprocess.Popen]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-m", "tests.forking", str(its.fileno()), "-" * ROOM]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # numpy's own threads would not outlive a fork
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, process_group=0
        )
    return ours, process


def _adopt_orphans(yes: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    """Fork until the test run ends; each fork leaves this function as the program that was asked for."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _import_libraries()
    while True:
        request, files, _, _ = socket.recv_fds(channel, MOST_BYTES, 1)
        if not request:
            return
        if (pid := _fork()) is None:
            channel.close()
            _become(**json.loads(request), output=files[0])
            return
        os.close(files[0])
        try:
            channel.send(str(pid).encode())
        except BrokenPipeError:  # nobody waits for it any more
            os.killpg(pid, signal.SIGKILL)
            return


def _import_libraries() -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # as agents.llm does
    gc.disable()  # there is no garbage yet
    for name in LIBRARIES:
        import_module(name)
    assert not [name for name in sys.modules if name.startswith("platform_site")]
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a library has begun a thread, which forks would lack"
    gc.freeze()
    gc.enable()


def _fork() -> int | None:
    """The number of a grandchild that is nobody's child yet; in the grandchild, None."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        pid = int(os.read(reader, 64))
        os.close(reader)
        os.waitpid(child, 0)
        return pid
    if grandchild := os.fork():
        os.setpgid(grandchild, grandchild)
        os.write(writer, str(grandchild).encode())
        os._exit(0)
    os.close(reader)
    os.close(writer)
    return None


def _become(command: list[str], environment: dict[str, str], output: int) -> None:
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    _show(command)
    module, sys.argv = command[2], command[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _show(command: list[str]) -> None:
    """Write the command where the kernel has our arguments: ps and pgrep read them there."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    text = b"\0".join(map(os.fsencode, command))[: end - begin - 1]
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    main()
