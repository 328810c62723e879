"""One process at a time moves a tenant."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from platform_site.errors import Conflict
from tenants import servers
from tenants.models import Move

LOCK = "select pg_try_advisory_lock(hashtext(%s), %s)"
HELD = """
select 1 from pg_locks join pg_database d on d.oid = database and d.datname = current_database()
where locktype = 'advisory' and classid = hashtext(%s)::oid and objid = %s::int::oid and granted
"""


def is_at_work(move: Move) -> bool:
    """Whether a process that lives works on this tenant's move."""
    with servers.connected() as server:
        return server.execute(HELD, _lock_of(move)).fetchone() is not None


@contextmanager
def alone(move: Move) -> Iterator[None]:
    """One process at a time moves a tenant; ends with the connection, also when the process is killed."""
    with servers.connected() as server:
        if not server.execute(LOCK, _lock_of(move)).fetchone()[0]:
            raise Conflict("Another process is moving this tenant right now.")
        yield


def _lock_of(move: Move) -> list:
    return [f"{settings.INSTALL} move", move.tenant_id]
