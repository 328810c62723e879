"""The file `<DATA_DIR>/env`: what `bin/up` decided, for every process and command that runs afterwards.

Lines a person added stay. The process environment wins over the file (platform_site/env.py).
"""

import base64
import os
import secrets
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.services import INSTALL

# What embedding one service writes; setting the first of them in the environment replaces the service.
VARIABLES = {
    "postgres": ("DATABASE_URL", "DATABASE_PLATFORM_URL", "DATABASE_PROVISION_URL", "DATABASE_OWNER_URL"),
    "valkey": ("REDIS_URL",),
    "vectors": ("QDRANT_URL", "QDRANT_API_KEY"),
}


def wanted_services() -> list[str]:
    """The services that nobody replaced by setting a URL."""
    return [name for name, variables in VARIABLES.items() if not os.environ.get(variables[0])]


def replaced_by(service: str) -> str:
    """The variable that replaces an embedded service."""
    return VARIABLES[service][0]


def new_secrets() -> dict[str, str]:
    """Random secrets of one installation."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return {"SECRET_KEY": secrets.token_hex(32), "ENCRYPTION_KEYS": f"k1:{key}", "INSTALL": INSTALL}


def begin(folder: Path, *, port: int) -> None:
    """Write the file, with random secrets if it is the first time; replaced services leave it."""
    replaced = set(VARIABLES) - set(wanted_services())
    dropped = {variable for service in replaced for variable in VARIABLES[service]}
    known = {name: value for name, value in read(folder).items() if name not in dropped}
    _write(folder, {"DEBUG": "true"} | new_secrets() | known | {"PUBLIC_PORT": str(port)})


def add(folder: Path, values: dict[str, str]) -> None:
    """Add or change variables."""
    _write(folder, read(folder) | values)


def read(folder: Path) -> dict[str, str]:
    """The variables in the file; none if there is no file."""
    path = folder / "env"
    if not path.exists():
        return {}
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, value in pairs}


def _write(folder: Path, values: dict[str, str]) -> None:
    if values != read(folder):
        files.write_private(folder / "env", "".join(f"{name}={value}\n" for name, value in values.items()))
