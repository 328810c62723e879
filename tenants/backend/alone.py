"""One statement in a transaction of its own, for which nothing has to be left on the connection.

Role, search path and tenant travel in front of it, in the same message to the server, and hold for its transaction
only. One round trip does what otherwise takes three (binding, asking, cleaning), each of which makes a thread give the
interpreter away and wait for it several times; and between two of them the connection is nobody's.
"""

import os
import time
from typing import NamedTuple

from django.db import DatabaseError
from django.utils.asyncio import async_unsafe

from tenants.backend import deadlines

# What comes to the server when nobody waits for it any more is refused there, before anything is done; the caller meets
# an OperationalError. A frozen server, or a line that holds things back, would otherwise store a question long after
# its visitor was told that it is not stored, and nobody would watch its turn.
# set_config's third argument: until the transaction ends, which is where the server has dealt with the message
BIND = (
    "select case when clock_timestamp() > to_timestamp(%(bound_until)s) then pg_cancel_backend(pg_backend_pid()) end,"
    " set_config('role', %(bound_role)s, true), set_config('search_path', %(bound_path)s, true),"
    " set_config('app.tenant_id', %(bound_tenant)s, true), extract(epoch from clock_timestamp())::float8;"
)
# A server that has answered so lately needs no greeting, which would find out in less time that it is frozen
HEARD_SECONDS = 0.25
# For the server to answer: more than lock_timeout (platform_site/postgres.py), and half of what others may wait
ANSWER_SECONDS = 6.0


class Heard(NamedTuple):
    """When a server has last answered: by our clock, and by its own, which may be another.

    Each database has its server; metering.clock knows the control plane's alone.
    """

    at: float
    its_time: float


_heard: dict[str, Heard] = {}  # by alias


def note(alias: str, its_time: float) -> None:
    """The server of this alias has answered at this time of its clock (seconds since 1970)."""
    _heard[alias] = Heard(time.monotonic(), its_time)


def forget(alias: str) -> None:
    """Whoever asks next greets first, and so finds a connection that lives."""
    _heard.pop(alias, None)


def lately_heard(alias: str) -> Heard | None:
    """Its last answer, if it was so lately that it need not be greeted."""
    heard = _heard.get(alias)
    return heard if heard and time.monotonic() - heard.at < HEARD_SECONDS else None


class Alone:
    """What the backend's DatabaseWrapper knows of such statements."""

    @async_unsafe
    def alone(self, sql: str, params: dict) -> list[tuple]:
        """The rows of one statement for the current tenant, committed unless a transaction is open.

        The statement must be safe to repeat: its caller cannot always tell whether it was run before its server went.
        Raises  what a cursor does
        """
        heard = lately_heard(self.alias)
        if self.connection is not None or self.in_atomic_block or self._pinned or not (heard and self.pool):
            with self.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall()
        wanted = self._wanted().checked()
        bound = {
            "bound_role": wanted.role, "bound_path": wanted.path, "bound_tenant": wanted.tenant,
            "bound_until": heard.its_time + time.monotonic() - heard.at + ANSWER_SECONDS,
        }  # fmt: skip
        try:
            with self.noticing_moves(), self.wrap_database_errors:
                return self._ask_pooled(BIND + sql, params | bound)
        except DatabaseError:
            forget(self.alias)
            raise

    def _ask_pooled(self, sql: str, params: dict) -> list[tuple]:
        """As `alone`, on a pooled connection that is this thread's for no longer than that."""
        self._give_back_control()
        pool = self.pool
        pool.open()
        connection = pool.getconn()
        try:
            with deadlines.answered(connection, ANSWER_SECONDS), connection.cursor() as cursor:
                cursor.execute(sql, params)
                note(self.alias, cursor.fetchone()[-1])
                cursor.nextset()
                return cursor.fetchall()
        finally:
            pool.putconn(connection)


os.register_at_fork(after_in_child=_heard.clear)
