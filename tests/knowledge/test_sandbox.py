"""What a reader may do once somebody has taken it over: nothing."""

import os
import time

import billiard
import pytest

from knowledge import parsing
from knowledge.parsing import Unreadable, sandbox
from tests.knowledge import files


@pytest.fixture
def escape(tmp_path):
    """Run code of an attacker who took over a reader, and give what it could say."""

    def escape(body: str, limits: sandbox.Limits = sandbox.LIMITS) -> list[dict]:
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (tmp_path / "hostile.py").write_text(f"def read(data):\n{lines}\n")
        (tmp_path / "upload").write_bytes(b"x")
        with (tmp_path / "upload").open("rb") as file:
            return sandbox.run(file, reader="hostile", limits=limits, paths=(tmp_path,))

    return escape


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import socket; socket.socketpair()",
        "import os; os.execv('/bin/sh', ['sh'])",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import threading; threading.Thread(target=print).start()",
    ],
)
def test_a_reader_can_start_nothing_and_reach_nobody(escape, attempt):
    said = escape(
        f"try:\n    {attempt}\nexcept (OSError, RuntimeError) as error:\n"
        "    yield {'errno': getattr(error, 'errno', None), 'kind': type(error).__name__}\n"
        "else:\n    yield {'escaped': True}"
    )
    assert said in ([{"errno": 1, "kind": "PermissionError"}], [{"errno": None, "kind": "RuntimeError"}])


def test_a_reader_sees_no_environment_and_no_descriptor_of_ours(escape, tmp_path):
    with (tmp_path / "open elsewhere").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        said = escape(
            "import os\nyield {'environment': sorted(os.environ), 'group': os.getpgid(0) == os.getpid(),"
            " 'open': sorted({os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')"
            " if os.path.lexists(f'/proc/self/fd/{n}')})}"
        )
    assert set(said[0]["environment"]) <= {"LC_CTYPE"}  # the interpreter sets that one itself
    assert said[0]["group"]
    assert not any("elsewhere" in name or name.startswith("socket") for name in said[0]["open"])


def test_r17_too_much_memory_ends_it(escape):
    with pytest.raises(Unreadable) as caught:
        escape("data = bytearray(600 * 1024**2)\nyield {}")
    assert caught.value.code == "too_large"


def test_too_much_computing_ends_it(escape):
    with pytest.raises(Unreadable) as caught:
        escape("while True: pass", sandbox.Limits(cpu_seconds=1))
    assert caught.value.code == "too_slow"


def test_too_much_waiting_ends_it(escape):
    begun = time.monotonic()
    with pytest.raises(Unreadable) as caught:
        escape("import time\nyield {}\ntime.sleep(60)", sandbox.Limits(wall_seconds=0.5))
    assert caught.value.code == "too_slow"
    assert time.monotonic() - begun < 5


def test_too_much_output_ends_it(escape):
    with pytest.raises(Unreadable) as caught:
        escape("while True: yield {'text': 'x' * 100_000}")
    assert caught.value.code == "too_large"


def test_a_large_file_cannot_be_written(escape, tmp_path):
    with pytest.raises(Unreadable):
        escape(f"open({str(tmp_path / 'large')!r}, 'wb').write(bytes(2 * 1024**2))\nyield {{}}")
    assert (tmp_path / "large").stat().st_size <= 1024**2


def test_a_crash_says_that_the_file_is_damaged(escape):
    with pytest.raises(Unreadable) as caught:
        escape("import ctypes\nctypes.string_at(0)\nyield {}")
    assert caught.value.code == "damaged"


def test_a_library_that_is_missing_is_not_the_fault_of_the_file(escape):
    with pytest.raises(sandbox.SandboxBroken, match="no_such_library"):
        escape("import no_such_library\nyield {}")


@pytest.mark.parametrize(
    "said", ["[1]", "{'text': 5}", "{'text': 'a', 'kind': 'x'}", "{'failure': ['locked']}", "{'failure': 'x'}"]
)
def test_a_reader_that_says_something_odd_is_not_believed(escape, said):
    with pytest.raises((Unreadable, ValueError, TypeError, AttributeError)):
        parsing.assemble(escape(f"yield {said}"))


def test_it_works_in_a_worker_process_that_may_have_no_children_of_its_own(tmp_path):
    (tmp_path / "upload").write_bytes(files.pdf([("h1", "Patient handbook"), ("p", files.LOREM)]))
    here, there = billiard.Pipe()
    worker = billiard.Process(target=_read_in_worker, args=(tmp_path / "upload", there), daemon=True)
    worker.start()
    assert here.poll(20) and here.recv() == "Patient handbook"
    worker.join(5)


def _read_in_worker(path, pipe) -> None:
    pipe.send(parsing.parse(path, kind="pdf").title)
