"""What a web process does before it takes traffic."""

import os
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import NO_TLS, until, web_command
from tests.processes import free_port, running


def policies(pid: int) -> set[int]:
    """How the threads of a process are scheduled."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            found.add(os.sched_getscheduler(int(thread.name)))
    return found


@pytest.mark.skipif(os.sched_getscheduler(0) != os.SCHED_OTHER, reason="whoever runs the tests has set another policy")
def test_its_threads_wait_for_each_other(tmp_path):
    port = free_port()
    with running(web_command(port), log=tmp_path / "web.log", PUBLIC_PORT=str(port)) as process:
        address = f"http://127.0.0.1:{port}/healthz"
        until(lambda: httpx.get(address, verify=NO_TLS).status_code == 200, seconds=90)
        assert policies(process.pid) == {os.SCHED_BATCH}
