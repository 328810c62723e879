"""One statement in a transaction of its own, for which nothing has to be left on the connection.

Role, search path and tenant travel in front of it, in the same message to the server, and hold for its transaction
only. One round trip does what otherwise takes three (binding, asking, cleaning), each of which makes a thread give the
interpreter away and wait for it several times; and between two of them the connection is nobody's.
"""

import os
import time

from django.db import OperationalError

from tenants.backend import deadlines

# set_config's third argument: until the transaction ends, which is where the server has dealt with the message
BIND = (
    "select set_config('role', %(bound_role)s, true), set_config('search_path', %(bound_path)s, true),"
    " set_config('app.tenant_id', %(bound_tenant)s, true);"
)
HEARD_SECONDS = 2  # a server that has answered so lately needs no greeting, which would find out in less time
# For the server to answer: more than lock_timeout (platform_site/postgres.py), and half of what others may wait, for no
# greeting has shown that it is not frozen
ANSWER_SECONDS = 6.0

_heard: dict[str, float] = {}  # by alias: when its server has last answered such a statement, or a greeting


def note(alias: str) -> None:
    """The server of this alias has answered."""
    _heard[alias] = time.monotonic()


def forget(alias: str) -> None:
    """Whoever asks next greets first, and so finds a connection that lives."""
    _heard.pop(alias, None)


def was_heard(alias: str) -> bool:
    """Whether the server has answered lately."""
    return time.monotonic() - _heard.get(alias, -HEARD_SECONDS) < HEARD_SECONDS


class Alone:
    """What the backend's DatabaseWrapper knows of such statements."""

    def alone(self, sql: str, params: dict) -> list[tuple]:
        """The rows of one statement for the current tenant, committed unless a transaction is open.

        The statement must be safe to repeat: its caller cannot always tell whether it was run before its server went.
        Raises  what a cursor does
        """
        if self.connection is not None or self._pinned or not self.pool or not was_heard(self.alias):
            with self.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall()
        wanted = self._wanted().checked()
        bound = {"bound_role": wanted.role, "bound_path": wanted.path, "bound_tenant": wanted.tenant}
        try:
            with self.noticing_moves(), self.wrap_database_errors:
                rows = self._ask_pooled(BIND + sql, params | bound)
        except OperationalError:
            forget(self.alias)
            raise
        note(self.alias)
        return rows

    def _ask_pooled(self, sql: str, params: dict) -> list[tuple]:
        """As `alone`, on a pooled connection that is this thread's for no longer than that."""
        self._give_back_control()
        connection = self.pool.getconn()
        try:
            with deadlines.answered(connection, ANSWER_SECONDS), connection.cursor() as cursor:
                cursor.execute(sql, params)
                cursor.nextset()  # the first result is the binding's
                return cursor.fetchall()
        finally:
            self.pool.putconn(connection)


os.register_at_fork(after_in_child=_heard.clear)
