"""A connection that keeps no tenant of its own: whenever it is about to run SQL it becomes what the context says.

django-tenants pushes the tenant onto the connection; with work of several tenants interleaved on one thread that read
the wrong tenant in most queries. So role, search path and the setting that row security reads are derived from
tenants.context, in one statement, and forgotten whenever the server may have reverted them.

alias       who may use it                        role              search_path   app.tenant_id
default     any work; none sees no tenant's rows  login             public        the tenant's id, or empty
platform    platform work only                    login             public        empty
provision   platform work, or pinned              login, or pinned  pg_catalog    empty
            (and provision:<database>, the same login in a database of its own)
owner       migrations of the control plane       login             public        empty
other       the tenant placed there, or pinned    the tenant's      its schema    the tenant's id
"""

import re
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import psycopg
from django.db import DatabaseError, connections
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from django.utils.asyncio import async_unsafe
from django_tenants.postgresql_backend import base
from psycopg.pq import TransactionStatus

from tenants.backend import alone, deadlines
from tenants.context import TenantRef, current_or_none, is_platform
from tenants.errors import NoTenantContext, TenantMismatch, TenantMoved

CONTROL_ALIASES = frozenset({"default", "platform", "owner"})
PATIENT_ALIASES = frozenset({"platform", "owner", "provision"})
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
BIND_CONTROL = "select set_config('app.tenant_id', %s, false)"
BIND_DATA = (
    "select set_config('role', %s, false), set_config('search_path', %s, false),"
    " set_config('app.tenant_id', %s, false), extract(epoch from clock_timestamp())::float8"
)


# undefined table, invalid schema, a role that is not there, no right to take it; and a lock that others held too long
SIGNS_OF_A_MOVE = frozenset({"42P01", "3F000", "22023", "42501", "55P03"})


def _may_be_a_move(error: DatabaseError) -> bool:
    """Whether this is how it looks when a tenant has moved away, or its writes wait until it has."""
    return getattr(error.__cause__, "sqlstate", None) in SIGNS_OF_A_MOVE


def _switch_to_autocommit(connection: psycopg.Connection) -> None:
    if not connection.autocommit:  # the driver takes a lock even where nothing changes
        connection.autocommit = True


class Binding(NamedTuple):
    """What a connection must be before it runs SQL."""

    role: str
    path: str
    tenant: str

    def checked(self) -> "Binding":
        """Itself. Raises TenantMismatch."""
        if not NAME.fullmatch(self.path) or not NAME.fullmatch(self.role):
            raise TenantMismatch("a schema or role name is not one of ours")
        return self


class _Obedient:
    """A cursor may outlive the context it was made in: look again before each statement."""

    def _execute(self, sql, params, *ignored):
        self.db.obey()
        with self.db.noticing_moves(), self.db.answered():
            return super()._execute(sql, params, *ignored)

    def _executemany(self, sql, param_list, *ignored):
        self.db.obey()
        with self.db.noticing_moves(), self.db.answered():
            return super()._executemany(sql, param_list, *ignored)


class ObedientCursor(_Obedient, CursorWrapper):
    """The ordinary cursor."""


class ObedientDebugCursor(_Obedient, CursorDebugWrapper):
    """The cursor that also records its queries."""


class DatabaseWrapper(alone.Alone, base.DatabaseWrapper):
    """One thread's connection under one alias."""

    def __init__(self, *args, **kwargs):
        self._pinned: Binding | None = None
        self._bound: tuple | None = None
        self._transaction_of: Binding | None = None
        super().__init__(*args, **kwargs)

    # --- what the context wants

    def _wanted(self) -> Binding:
        if self._pinned:
            return self._pinned
        ref = current_or_none()
        if self.alias in CONTROL_ALIASES:
            return self._wanted_of_control(ref)
        if self.alias.split(":")[0] == "provision":
            self._only_platform()
            return Binding("none", "pg_catalog", "")
        return self._wanted_of_data(ref)

    def _wanted_of_control(self, ref: TenantRef | None) -> Binding:
        if self.alias == "platform":
            self._only_platform()
        return Binding("none", "public", str(ref.id) if ref and self.alias == "default" else "")

    def _wanted_of_data(self, ref: TenantRef | None) -> Binding:
        if ref is None:
            raise NoTenantContext(f"the data plane ({self.alias}) was asked for outside any tenant")
        if ref.alias != self.alias:
            raise TenantMismatch(f"tenant {ref.id} lives in {ref.alias}, not in {self.alias}")
        return Binding(ref.role, ref.schema, str(ref.id))

    def _only_platform(self) -> None:
        if not is_platform():
            raise NoTenantContext(f"the alias {self.alias} is for platform work: enter acting_for_platform")

    # --- a connection that lives

    def answered(self, connection=None):
        """What end users wait for has an answer in time; what operators order may take as long as it needs."""
        if self.alias.split(":")[0] in PATIENT_ALIASES or self._pinned:
            return nullcontext()
        return deadlines.answered(connection or self.connection)

    def _commit(self):
        with self.answered() if self.connection is not None else nullcontext():
            return super()._commit()

    @async_unsafe
    def get_new_connection(self, conn_params):
        """A pooled connection is bound by its first statement, which also shows whether it has outlived its server.

        A dead one goes back, which makes the pool replace it, and the next one is tried; not after a silent one, for
        its server would let all be waited for.
        """
        if not self.pool:
            return super().get_new_connection(conn_params)
        self._give_back_control()
        for _ in range(self.pool.max_size + 1):
            connection = super().get_new_connection(conn_params)
            if self._answers(connection):
                return connection
        raise psycopg.OperationalError("the server ends every connection at its first statement")

    def _give_back_control(self) -> None:
        """The control plane's connection must not wait along for a tenant's database that is away: all need it."""
        control = connections["default"]
        if self.alias not in CONTROL_ALIASES and control.connection is not None and not control.in_atomic_block:
            control.close()

    def _answers(self, connection) -> bool:
        greeting = deadlines.answered(connection, deadlines.GREETING_SECONDS)
        try:
            with greeting:
                _switch_to_autocommit(connection)
                self._greet(connection)
        except BaseException as error:
            self.pool.putconn(connection)
            if isinstance(error, psycopg.OperationalError) and connection.closed and not greeting.is_over:
                return False
            raise
        return True

    def _greet(self, connection) -> None:
        try:
            wanted = self._wanted()
        except (NoTenantContext, TenantMismatch):  # who opens a transaction before the context; its cursor is refused
            connection.execute("")
        else:
            self._bind(connection, wanted)

    # --- obeying it

    def obey(self) -> None:
        """Make the open connection what the context wants. Raises NoTenantContext or TenantMismatch."""
        wanted = self._wanted()
        self._guard_transaction(wanted)
        # PostgreSQL 18 reports search_path by itself, so a reset behind our back shows without a round trip
        if self._bound == (self.connection, wanted) and (
            self.connection.info.parameter_status("search_path") in (wanted.path, None)
        ):
            return
        self._bind(self.connection, wanted)

    def _bind(self, connection, wanted: Binding) -> None:
        wanted.checked()
        if self.alias in CONTROL_ALIASES:
            connection.execute(BIND_CONTROL, [wanted.tenant])
        else:
            alone.note(self.alias, connection.execute(BIND_DATA, wanted).fetchone()[-1])
        self._bound = (connection, wanted)

    def _guard_transaction(self, wanted: Binding) -> None:
        """One transaction belongs to one tenant."""
        if not self.in_atomic_block:
            return
        if self._transaction_of is None:
            self._transaction_of = wanted
        elif self._transaction_of != wanted:
            raise TenantMismatch("a transaction begun for one tenant was used for another")

    def _set_autocommit(self, autocommit):
        if self.connection.autocommit != autocommit:  # as in _switch_to_autocommit
            super()._set_autocommit(autocommit)
        self._transaction_of = None  # a transaction begins or has ended

    @contextmanager
    def pinned(self, schema: str, role: str = "none"):
        """Provisioning and migrations only: this connection works in ``schema`` whatever the context says."""
        if current_or_none() is not None:
            raise TenantMismatch("a tenant's work cannot pin a connection")
        self._pinned, before = Binding(role, schema, ""), self._pinned
        try:
            yield self
        finally:
            self._pinned = before

    def _cursor(self, name=None):
        # asked before connecting, so that a refused caller costs no connection
        self._guard_transaction(self._wanted())
        with self.noticing_moves():
            self.ensure_connection()
            with self.wrap_database_errors:
                self.obey()
        return super()._cursor(name)

    @contextmanager
    def noticing_moves(self):
        """A tenant's tables, schema or role are not there, or locked: it may be on the move. Raises TenantMoved."""
        try:
            yield
        except DatabaseError as error:
            ref = current_or_none()
            if ref is None or ref.alias != self.alias or self._pinned or not _may_be_a_move(error):
                raise
            from tenants import directory  # needs models, which need this module

            if self._lost_its_role() or directory.has_moved(ref):
                raise TenantMoved("This service is being moved. Try again in a moment.", retry_after=1) from error
            raise

    def _lost_its_role(self) -> bool:
        """Whether the tenant moved away and came back meanwhile: its role here has the same name, and is another."""
        self._bound = None
        if self.connection is None:
            return False
        try:
            self.connection.execute("select current_user")
        except psycopg.errors.UndefinedObject:
            return True
        except psycopg.Error:  # a transaction that has failed cannot be asked; its rollback forgets the role, too
            return False
        return False

    def make_cursor(self, cursor):
        return ObedientCursor(cursor, self)

    def make_debug_cursor(self, cursor):
        return ObedientDebugCursor(cursor, self)

    # --- what the server may have reverted is forgotten

    def close(self):
        self._bound = None
        super().close()

    def _close(self):
        if self.connection is not None and self.pool:
            self._clean()
        return super()._close()

    def _clean(self):
        """A connection goes back into the pool with nothing of its last user on it.

        Done here, not by the pool's `reset`: that runs on the pool's one worker, for which 16 busy threads would queue.
        """
        if self.connection.closed:
            return  # the pool replaces it
        try:
            with self.answered():
                if self.connection.info.transaction_status != TransactionStatus.IDLE:
                    self.connection.rollback()
                _switch_to_autocommit(self.connection)
                self.connection.execute("discard all")
        except psycopg.Error:
            self.connection.close()

    @async_unsafe
    def rollback(self):
        self._bound = None
        super().rollback()

    @async_unsafe
    def savepoint_rollback(self, sid):
        try:
            super().savepoint_rollback(sid)
        finally:
            self._bound = None

    # --- django-tenants' own ways of saying the tenant

    @property
    def schema_name(self) -> str:
        """The schema this connection works in; django-tenants and Django's introspection read it."""
        if self._pinned:
            return self._pinned.path
        if self.alias in CONTROL_ALIASES:
            return "public"
        ref = current_or_none()
        return ref.schema if ref else "pg_catalog"

    @schema_name.setter
    def schema_name(self, value):
        """django-tenants assigns it; the context decides."""

    def set_schema_to_public(self):
        """Called by django-tenants on every new connection: nothing to do, the context decides."""

    def set_tenant(self, tenant, include_public=True):
        """Refused: tenants.context alone says for whom work is done."""
        raise TypeError("use tenants.context.acting_for(tenant)")

    def _handle_search_path(self, cursor=None):
        """django-tenants sets its search path here; obey() has done it."""
