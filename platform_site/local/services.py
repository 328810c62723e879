"""The embedded services together: PostgreSQL, Valkey and the vector service of one folder."""

from collections.abc import Collection
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.postgres import Postgres
from platform_site.local.service import Service
from platform_site.local.valkey import Valkey
from platform_site.local.vectors import VectorService
from tenants import bootstrap

KINDS: dict[str, type[Service]] = {"postgres": Postgres, "valkey": Valkey, "vectors": VectorService}
ALL = frozenset(KINDS)
INSTALL = "atrium"  # also the name of the database


def start_all(folder: Path, *, durable: bool = True, wanted: Collection[str] = ALL) -> dict[str, str]:
    """Start the wanted services, or find them running; return the environment that leads to them.

    They end with the process that started them. Safe to call from several processes at once.
    """
    folder = folder.resolve()
    environment: dict[str, str] = {}
    with files.locked(folder / "run" / "starting", wait=True):
        for service in handles(folder, durable=durable, wanted=wanted):
            service.start()
            environment |= addresses(service)
    return environment


def stop_all(folder: Path) -> None:
    """Stop what runs in the folder, PostgreSQL last."""
    for service in reversed(handles(folder.resolve())):
        service.stop()


def handles(folder: Path, *, durable: bool = True, wanted: Collection[str] = ALL) -> list[Service]:
    """The folder's services in the order in which they start; running ones are found."""
    return [kind(folder, durable=durable) for name, kind in KINDS.items() if name in wanted]


def addresses(service: Service) -> dict[str, str]:
    """The variables that lead to a running service. For PostgreSQL, its roles and database are made first."""
    match service:
        case Postgres():
            passwords = {role: files.secret(service.folder, f"postgres_{role}") for role in bootstrap.ROLES}
            return bootstrap.setup_database(service.admin_url, install=INSTALL, database=INSTALL, passwords=passwords)
        case Valkey():
            return {"REDIS_URL": service.url}
        case VectorService():
            return {"QDRANT_URL": service.url, "QDRANT_API_KEY": service.password}
    raise TypeError(service)
