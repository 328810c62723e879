"""`bin/up`'s parts against real processes: what is killed comes back, and nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from platform_site.env import Environment
from platform_site.local import demo, environment, services, web
from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.postgres import Postgres
from platform_site.local.processes import ROOT, wait_until
from platform_site.local.program import Program
from platform_site.local.supervisor import Supervisor
from platform_site.local.valkey import Valkey


@pytest.fixture(scope="module")
def postgres_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    yield folder
    services.stop_all(folder)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    services.stop_all(tmp_path)


def start(folder: Path, *wanted: str) -> dict[str, str]:
    return services.start_all(folder, durable=wanted == ("valkey",), wanted=wanted)


def kill(service) -> None:
    os.kill(service.process.pid, signal.SIGKILL)
    assert wait_until(lambda: not service.running(), 15)


def run_up(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "platform_site.local.up", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def taken_port(number: int = 0):
    with socket.create_server(("127.0.0.1", number)) as server:
        yield server.getsockname()[1]


def test_postgres_keeps_data_and_port_over_kill_9(postgres_folder):
    first = start(postgres_folder, "postgres")
    with psycopg.connect(first["DATABASE_OWNER_URL"]) as connection:
        connection.execute("create table kept (id int)")
    kill(Postgres(postgres_folder))
    assert start(postgres_folder, "postgres") == first
    with psycopg.connect(first["DATABASE_OWNER_URL"]) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_postgres_starts_though_its_stale_pid_is_now_another_process(postgres_folder):
    start(postgres_folder, "postgres")
    server = Postgres(postgres_folder)
    kill(server)
    pid_file = server.data / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(str(server.process.pid), str(os.getppid()), 1))
    start(postgres_folder, "postgres")
    assert Postgres(postgres_folder).running()


def test_no_role_of_the_application_is_superuser(postgres_folder):
    start(postgres_folder, "postgres")
    with psycopg.connect(Postgres(postgres_folder).admin_url) as connection:
        names = connection.execute("select rolname from pg_roles where rolsuper").fetchall()
    assert names == [("postgres",)]


def test_a_second_handle_finds_the_running_server(postgres_folder):
    start(postgres_folder, "postgres")
    pid = Postgres(postgres_folder).process.pid
    start(postgres_folder, "postgres")
    assert Postgres(postgres_folder).process.pid == pid


def test_valkey_keeps_what_it_acknowledged_over_kill_9(folder):
    with redis.Redis.from_url(start(folder, "valkey")["REDIS_URL"]) as client:
        client.set("kept", "1")
    kill(Valkey(folder))
    with redis.Redis.from_url(start(folder, "valkey")["REDIS_URL"]) as client:
        assert client.get("kept") == b"1"


def test_a_remembered_port_that_is_taken_is_given_up(folder):
    start(folder, "valkey")
    before = Valkey(folder).port
    services.stop_all(folder)
    with taken_port(before):
        start(folder, "valkey")
        assert Valkey(folder).port != before
        assert Valkey(folder).answers()


def test_passwords_are_readable_by_their_owner_only(folder):
    start(folder, "valkey")
    private = [folder / "secrets" / "valkey", folder / "valkey" / "valkey.conf", folder / "run" / "valkey.pid"]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_services_end_when_whoever_started_them_is_killed(folder):
    program = (
        "import sys, time; from pathlib import Path; from platform_site.local import services;"
        "services.start_all(Path(sys.argv[1]), wanted=['valkey']); print('up', flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout.readline() == "up\n"
    server = Valkey(folder)
    assert server.running()
    starter.kill()
    starter.communicate()
    assert wait_until(lambda: not server.running(), 15)


def test_the_supervisor_brings_back_what_was_killed_and_leaves_nothing(folder, capsys):
    port = files.choose_port(folder, "page")
    supervisor = Supervisor(folder)
    page = Program(folder, "page", ["http.server", "--bind", "127.0.0.1", str(port)], grace_seconds=5)
    supervisor.start(page)
    killed = page.process.pid
    kill(page)
    deadline = time.monotonic() + 15
    while page.process.pid == killed and time.monotonic() < deadline:
        supervisor.watch()
        time.sleep(0.02)
    assert page.running()
    supervisor.stop()
    assert not page.running()
    assert "page killed by signal 9; starting it again in 0.5 s" in capsys.readouterr().out


def test_a_second_up_names_the_first_in_one_line(folder):
    with files.locked(folder / "lock", wait=False) as lock:
        lock.write_text('{"pid": 77, "url": "http://platform.localhost:8123/"}')
        second = run_up(folder)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == "bin/up: Already running: http://platform.localhost:8123/ (process 77).\n"


def test_a_taken_port_is_said_in_one_line(folder):
    with taken_port() as port:
        refused = run_up(folder, "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr == f"bin/up: Port {port} is taken by another program: bin/up --port {port + 1}.\n"


def test_a_port_that_is_taken_after_it_was_looked_at_is_said_in_one_line():
    with taken_port() as port, pytest.raises(LocalError) as refused:
        web.claimed(port)
    assert str(refused.value) == f"Port {port} is taken by another program: bin/up --port {port + 1}."


def test_nobody_can_take_the_port_while_the_web_processes_start():
    with web.claimed(0) as address, pytest.raises(OSError, match="in use"), taken_port(address.getsockname()[1]):
        pass


def test_reset_asks_and_deletes_only_after_yes(folder):
    environment.begin(folder, port=8123)
    (folder / "files").mkdir()
    with taken_port() as port:  # it stops there, before it starts anything
        assert "Nothing was deleted." in run_up(folder, "--reset", "--port", str(port)).stderr
        assert (folder / "files").exists()
        run_up(folder, "--reset", "--yes", "--port", str(port))
    assert not (folder / "files").exists()
    assert not (folder / "env").exists()


def test_the_environment_file_keeps_secrets_and_added_lines(folder, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    environment.begin(folder, port=8123)
    environment.add(folder, {"OPENAI_API_KEY": "a=b", "REDIS_URL": "redis://embedded"})
    before = environment.read(folder)
    environment.begin(folder, port=8124)
    assert environment.read(folder) == before | {"PUBLIC_PORT": "8124"}
    assert (folder / "env").stat().st_mode & 0o777 == 0o600


def test_a_replaced_service_is_neither_wanted_nor_in_the_file(folder, monkeypatch):
    monkeypatch.setenv("QDRANT_URL", "https://qdrant.example")
    monkeypatch.delenv("REDIS_URL", raising=False)
    environment.add(folder, {"QDRANT_URL": "http://embedded", "QDRANT_API_KEY": "of-the-embedded-one"})
    environment.begin(folder, port=8123)
    assert "QDRANT_API_KEY" not in environment.read(folder)
    assert "vectors" not in environment.wanted_services()
    assert "valkey" in environment.wanted_services()


def test_logs_are_rotated_and_the_oldest_forgotten(folder):
    log = folder / "web.log"
    for number in range(6):
        log.write_text(str(number))
        files.rotate(log)
    kept = {path.name: path.read_text() for path in folder.glob("web.log*")}
    assert kept == {"web.log.1": "5", "web.log.2": "4", "web.log.3": "3"}


def test_later_runs_show_urls_of_their_port_and_no_password(capsys):
    login = {"email": "ana@sunrise.example", "password": "only-once", "role": "owner"}
    tenant = {"name": "Sunrise", "url": "http://sunrise.localhost:8000/", "logins": [login]}
    tenant["chat_url"] = "http://sunrise.localhost:8000/chat/"
    operator = {"url": "http://platform.localhost:8000/admin/", "email": "op@x.example", "password": "secret"}
    report = {"tenants": [tenant], "operator": operator}
    demo.show(report, port=9000, passwords=False)
    output = capsys.readouterr().out
    assert "http://sunrise.localhost:9000/chat/" in output
    assert "only-once" not in output
    assert "secret" not in output


def test_every_variable_is_in_the_example_file():
    lines = (ROOT / ".env.example").read_text().splitlines()
    documented = {line.partition("=")[0] for line in lines if not line.startswith("#")} - {""}
    assert documented == {name.upper() for name in Environment.model_fields}
