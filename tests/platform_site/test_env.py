"""The environment: what is missing or wrong is said in one line each, and no process starts with a sample secret."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from platform_site import env, outage
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
KEY = "k1:" + base64.b64encode(bytes(range(32))).decode()
GOOD = {
    "SECRET_KEY": "q8Zr1v0Lk3Jh6Gf9Ds2Ap5Oi7Uy4Tr8Ew1Qz3Xc6",
    "ENCRYPTION_KEYS": KEY,
    "DATABASE_URL": "postgresql://a:b@localhost/c",
    "DATABASE_PLATFORM_URL": "postgresql://a:b@localhost/c",
    "REDIS_URL": "redis://localhost:6379/0",
    "QDRANT_URL": "http://localhost:6333",
}


def start(tmp_path, **changes: str | None) -> subprocess.CompletedProcess:
    """Read the environment in a process of its own: GOOD with the changes (None takes a variable away)."""
    environment = {name: value for name, value in (GOOD | changes).items() if value is not None}
    environment |= {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}
    command, said = [sys.executable, "-m", "tests.platform_site.loading"], tmp_path / "said"
    with said.open("w") as output:
        status = processes.start(command, output=output, environment=environment).wait(60)
    return subprocess.CompletedProcess(command, status, stderr=said.read_text())


def test_a_whole_environment_starts(tmp_path):
    assert start(tmp_path).returncode == 0


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_missing_variable_is_named_in_one_line(tmp_path, name):
    done = start(tmp_path, **{name: None})
    assert done.returncode == 1
    assert f"  {name}: is not set" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr


def test_all_faults_are_said_at_once(tmp_path):
    done = start(tmp_path, SECRET_KEY=None, REDIS_URL="localhost", DATABASE_URL="mysql://x", PUBLIC_PORT="many")
    faults = [line.split(":")[0].strip() for line in done.stderr.splitlines() if line.startswith("  ")]
    assert set(faults) == {"SECRET_KEY", "REDIS_URL", "DATABASE_URL", "PUBLIC_PORT"}


@pytest.mark.parametrize(
    "secret",
    ["", "tiny7", "change-me-change-me-change-me-change-me", "django-insecure-abcdefghijklmnopqrstuvwxyz", "x" * 50],
)
def test_b1_a_sample_or_blank_secret_starts_nothing(tmp_path, secret):
    done = start(tmp_path, SECRET_KEY=secret)
    assert done.returncode == 1
    assert "SECRET_KEY" in done.stderr
    assert secret == "" or secret not in done.stderr


@pytest.mark.parametrize(
    "keys",
    ["", "k1:abc", "nonsense", "k1:" + base64.b64encode(bytes(32)).decode(), "k1:" + base64.b64encode(b"x").decode()],
)
def test_b1_a_weak_or_malformed_encryption_key_starts_nothing(tmp_path, keys):
    done = start(tmp_path, ENCRYPTION_KEYS=keys)
    assert done.returncode == 1
    assert "ENCRYPTION_KEYS" in done.stderr


def test_b1_a_sample_secret_is_for_debug_only(tmp_path):
    assert start(tmp_path, SECRET_KEY="change-me", DEBUG="true").returncode == 0


def test_a_secret_may_come_from_a_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(GOOD["SECRET_KEY"] + "\n")
    assert start(tmp_path, SECRET_KEY=None, SECRET_KEY_FILE=str(secret)).returncode == 0
    done = start(tmp_path, SECRET_KEY=None, SECRET_KEY_FILE=str(tmp_path / "missing"))
    assert done.returncode == 1 and "cannot be read" in done.stderr


def test_the_kept_environment_stands_behind_the_process_own(tmp_path):
    lines = [f"{name}={value}" for name, value in GOOD.items()]
    (tmp_path / "env").write_text("\n".join(lines))
    nothing = dict.fromkeys(GOOD)
    assert start(tmp_path, **nothing).returncode == 0
    assert "REDIS_URL" in start(tmp_path, **nothing | {"REDIS_URL": "wrong"}).stderr


def test_b1_demo_logins_are_refused_outside_debug(tmp_path):
    command = [sys.executable, "manage.py", "seed_demo"]
    environment = os.environ | {"DEBUG": "false", "SECRET_KEY": GOOD["SECRET_KEY"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "DEBUG only" in done.stderr


def test_a_command_says_in_one_line_which_service_is_missing(tmp_path):
    environment = os.environ | {"DATABASE_URL": "postgresql://a:b@127.0.0.1:9/c"}
    command = [sys.executable, "manage.py", "create_tenant", "X Y", "--vertical", "healthcare", "--plan", "pro"]
    environment["DATABASE_PLATFORM_URL"] = environment["DATABASE_URL"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "PostgreSQL does not answer at 127.0.0.1:9" in done.stderr and "bin/up" in done.stderr


def test_the_missing_service_is_the_one_that_was_asked_not_always_our_own_database():
    with pytest.raises(SystemExit, match="does not answer at 127.0.0.1:9"), outage.explained():
        psycopg.connect("host=127.0.0.1 port=9 user=tenant dbname=dedicated")


def test_name_servers_are_addresses_with_or_without_a_port():
    read = env.parse_servers("192.0.2.1, 192.0.2.2:5353,2001:db8::1,[2001:db8::2]:54")
    assert read == [("192.0.2.1", 53), ("192.0.2.2", 5353), ("2001:db8::1", 53), ("2001:db8::2", 54)]
    assert env.parse_servers("") == []
    for wrong in ("ns.example.com", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.300", "[::1", "1.2.3"):
        with pytest.raises(ValueError):
            env.parse_servers(wrong)


def test_networks_and_name_servers_that_cannot_be_read_start_nothing(tmp_path):
    done = start(tmp_path, DNS_SERVERS="ns.example.com", TLS_ASK_FROM="10.0.0.1/8")
    assert "DNS_SERVERS: must be IP addresses" in done.stderr and "TLS_ASK_FROM: " in done.stderr
