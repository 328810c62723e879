"""What a web process does before it takes traffic."""

import os
from pathlib import Path

import httpx
import pytest

from tests.conftest import NO_TLS, until, web_command
from tests.processes import free_port, running


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux knows it")
def test_its_threads_wait_for_each_other(tmp_path):
    port = free_port()
    with running(web_command(port), log=tmp_path / "web.log", PUBLIC_PORT=str(port)) as process:
        address = f"http://127.0.0.1:{port}/healthz"
        until(lambda: httpx.get(address, verify=NO_TLS).status_code == 200, seconds=90)
        threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        assert len(threads) > 1
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
