"""The database backend: a connection is what the context says, at every statement, or the statement is refused."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, OperationalError, ProgrammingError, connections, transaction
from psycopg.pq import TransactionStatus

from agents.conversations.models import EndUser
from tenants import databases, provisioning
from tenants.backend import deadlines
from tenants.context import acting_for, acting_for_platform
from tenants.errors import NoTenantContext, TenantMismatch
from tenants.models import AuditEvent, Database
from tenants.transactions import after_commit, atomic, atomic_control
from tests.threads import Threads


def state_of(tenant) -> tuple:
    """Role, path and setting of the tenant's data connection, as the server sees them."""
    with connections[tenant.alias].cursor() as cursor:
        cursor.execute("select current_user, current_setting('search_path'), current_setting('app.tenant_id')")
        return cursor.fetchone()


def expected(tenant) -> tuple:
    return tenant.role, tenant.schema, str(tenant.id)


def test_role_path_and_setting_follow_the_context(acme, globex):
    for tenant in (acme, globex, acme):
        with acting_for(tenant):
            assert state_of(tenant) == expected(tenant)


def test_a16_raw_sql_naming_another_tenants_schema_is_refused_by_postgres(acme, globex):
    with acting_for(acme), connections[acme.alias].cursor() as cursor:
        with pytest.raises(ProgrammingError, match="permission denied for schema"):
            cursor.execute(f"select * from {globex.schema}.conversations_enduser")
        with pytest.raises(ProgrammingError, match="permission denied for schema"):
            cursor.execute("select * from public.tenants_tenant")


def test_a_data_connection_outside_any_tenant_is_refused(acme):
    with pytest.raises(NoTenantContext), connections[acme.alias].cursor():
        pass
    with pytest.raises(NoTenantContext):
        EndUser.objects.using(acme.alias).count()
    with acting_for_platform("a test"), pytest.raises(NoTenantContext):
        EndUser.objects.using(acme.alias).count()


def test_a15_a_tenant_placed_elsewhere_is_refused(acme):
    with acting_for(replace(acme, alias="elsewhere_v1")), pytest.raises(TenantMismatch):
        EndUser.objects.using(acme.alias).count()


@pytest.mark.parametrize("alias", ["platform", "provision"])
def test_the_platforms_logins_are_for_platform_work_only(acme, alias):
    with pytest.raises(NoTenantContext), connections[alias].cursor():
        pass
    with acting_for(acme), pytest.raises(NoTenantContext), connections[alias].cursor():
        pass
    with acting_for_platform("a test"), connections[alias].cursor() as cursor:
        cursor.execute("select current_setting('app.tenant_id', true)")
        assert not cursor.fetchone()[0]


def test_a_rollback_that_reverts_the_binding_is_noticed(acme, globex):
    with acting_for(acme):
        state_of(acme)
    with acting_for(globex):
        with pytest.raises(ValueError), atomic():
            assert state_of(globex) == expected(globex)  # bound inside the transaction, reverted with it
            raise ValueError
        assert state_of(globex) == expected(globex)


def test_a_savepoints_rollback_is_noticed(acme):
    with acting_for(acme), atomic():
        with pytest.raises(ValueError), atomic():
            EndUser.objects.create(secret_hash="gone")
            raise ValueError
        assert state_of(acme) == expected(acme)
        assert EndUser.objects.count() == 0


def test_a_reset_behind_our_back_is_noticed(acme):
    with acting_for(acme):
        state_of(acme)
        connections[acme.alias].connection.execute("discard all")
        assert state_of(acme) == expected(acme)


def test_one_transaction_belongs_to_one_tenant(acme, globex):
    with pytest.raises(TenantMismatch, match="transaction"), transaction.atomic(using=acme.alias):
        with acting_for(acme):
            EndUser.objects.create(secret_hash="a")
        with acting_for(globex):
            EndUser.objects.count()
    with acting_for(acme):
        assert EndUser.objects.count() == 0


def test_a_cursor_that_outlives_its_context_is_refused_or_rebound(acme, globex):
    with acting_for(acme):
        cursor = connections[acme.alias].cursor()
        cursor.execute("insert into conversations_enduser values (gen_random_uuid(), 'a', now(), now())")
    with pytest.raises(NoTenantContext):
        cursor.execute("select 1")
    with acting_for(globex):
        cursor.execute("select count(*) from conversations_enduser")
        assert cursor.fetchone() == (0,)
        cursor.executemany("select %s", [(1,)])
    cursor.close()


def test_the_recording_cursor_obeys_too(acme, globex):
    with acting_for(acme):
        connection = connections[acme.alias]
        connection.force_debug_cursor = True
        cursor = connection.cursor()
        cursor.execute("select 1")
        connection.force_debug_cursor = False
    with acting_for(globex):
        cursor.execute("select current_setting('app.tenant_id')")
        assert cursor.fetchone() == (str(globex.id),)


def test_a_server_side_cursor_reads_its_own_tenant(acme, globex):
    for tenant, count in ((acme, 3), (globex, 1)):
        with acting_for(tenant):
            EndUser.objects.bulk_create(EndUser(secret_hash=f"{tenant.id}-{n}") for n in range(count))
    for tenant, count in ((acme, 3), (globex, 1)):
        with acting_for(tenant):
            assert len(list(EndUser.objects.iterator(chunk_size=1))) == count


def test_a10_a_pooled_connection_keeps_nothing_of_its_last_tenant(acme, globex):
    with acting_for(acme):
        state_of(acme)
        server_process = connections[acme.alias].connection.info.backend_pid
        connections[acme.alias].close()
    for _ in range(20):
        with acting_for(globex):
            assert state_of(globex) == expected(globex)
            same = connections[globex.alias].connection.info.backend_pid == server_process
            connections[globex.alias].close()
        if same:
            return
    pytest.fail("the pool never gave the same connection back")


def test_a_killed_connection_is_replaced_and_bound_again(acme):
    with acting_for(acme):
        state_of(acme)
        pid = connections[acme.alias].connection.info.backend_pid
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        # one's own logins' connections may be ended without being superuser
        cursor.execute("select usename from pg_stat_activity where pid = %s", [pid])
        assert cursor.fetchone()
    connections[acme.alias].connection.close()
    with acting_for(acme):
        with pytest.raises(OperationalError):
            state_of(acme)
        connections[acme.alias].close()
        assert state_of(acme) == expected(acme)


def test_connections_that_died_in_the_pool_are_replaced_before_anybody_sees_them(acme):
    """As after a restart of the server: every pooled connection is dead at once."""
    with acting_for(acme):
        for pid in in_parallel(acme, 4, pid_of_a_used_connection):
            with connections["default"].cursor() as cursor:  # the same login, so it may
                cursor.execute("select pg_terminate_backend(%s, 1000)", [pid])
                assert cursor.fetchone() == (True,)
        connections["default"].close()
    assert in_parallel(acme, 4, state_of) == [expected(acme)] * 4


def pid_of_a_used_connection(tenant) -> int:
    state_of(tenant)
    return connections[tenant.alias].connection.info.backend_pid


def in_parallel(tenant, count: int, ask) -> list:
    """What ``ask(tenant)`` answers on threads that hold their connections all at once."""
    together = threading.Barrier(count)

    def call():
        with acting_for(tenant):
            answer = ask(tenant)
            together.wait(10)
            return answer

    with Threads(count) as threads:
        return [found.result() for found in [threads.submit(call) for _ in range(count)]]


def test_a_server_that_ends_every_connection_is_an_error_not_an_endless_loop(acme):
    connection = connections[acme.alias]
    connection.close()
    connection._greet = lambda fresh: (fresh.close(), fresh.execute("select 1"))
    try:
        with acting_for(acme), pytest.raises(OperationalError, match="every connection"):
            state_of(acme)
    finally:
        del connection._greet


def test_a_refused_binding_costs_no_connection(acme):
    stranger = replace(acme, role="nobody_at_all")
    for _ in range(20):  # more than the pool holds
        connections[acme.alias].close()  # so that it is a fresh one that refuses
        with acting_for(stranger), pytest.raises(DatabaseError, match="nobody_at_all"):
            state_of(stranger)
    with acting_for(acme):
        assert state_of(acme) == expected(acme)


def test_a_transaction_may_begin_before_its_tenant_but_runs_nothing_without_one(acme):
    connections[acme.alias].close()
    with pytest.raises(NoTenantContext), transaction.atomic(using=acme.alias):
        EndUser.objects.using(acme.alias).count()
    with transaction.atomic(using=acme.alias), acting_for(acme):
        assert state_of(acme) == expected(acme)


def test_a_connection_that_died_in_use_is_not_kept(acme):
    with acting_for(acme):
        pid = pid_of_a_used_connection(acme)
        with connections["default"].cursor() as cursor:
            cursor.execute("select pg_terminate_backend(%s, 1000)", [pid])
        connections[acme.alias].close()
        assert pid_of_a_used_connection(acme) != pid


def test_r19_a_silent_database_costs_a_bounded_time_and_one_connection(acme, monkeypatch):
    monkeypatch.setattr(deadlines, "SECONDS", 0.5)
    with acting_for(acme), connections[acme.alias].cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        process = cursor.fetchone()[0]
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(OperationalError):
                cursor.execute("select 1")
        finally:
            os.kill(process, signal.SIGCONT)
        connections[acme.alias].close()
        assert state_of(acme) == expected(acme)


def test_a_statement_that_somebody_waits_for_is_ended_by_the_server(acme):
    with acting_for(acme), connections[acme.alias].cursor() as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone() == ("10s",)
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_a_connection_given_back_inside_a_transaction_keeps_nothing(acme):
    with acting_for(acme):
        state_of(acme)
        raw = connections[acme.alias].connection
        raw.execute("set application_name = 'somebody'")
        raw.autocommit = False
        raw.execute("select 1")
        connections[acme.alias].close()
        assert raw.info.transaction_status == TransactionStatus.IDLE
        assert raw.info.parameter_status("application_name") == ""


def test_threads_do_not_inherit_a_tenant(acme):
    seen = []

    def ask():
        try:
            EndUser.objects.count()
        except NoTenantContext as error:
            seen.append(error)

    with acting_for(acme):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(seen) == 1


def test_only_platform_work_may_pin_a_connection(acme):
    with acting_for(acme), pytest.raises(TenantMismatch), connections["provision"].pinned("t_1"):
        pass
    with acting_for_platform("a test"), connections["provision"].pinned(acme.schema, acme.role) as connection:
        assert connection.schema_name == acme.schema
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from conversations_enduser")


@pytest.mark.parametrize("name", ["t_1, public", 't_1"', "T_1", "", "a" * 64, "pg catalog"])
def test_a_schema_name_that_is_not_ours_never_reaches_sql(name):
    with acting_for_platform("a test"), connections["provision"].pinned(name), pytest.raises(TenantMismatch):
        connections["provision"].cursor()
    connections["provision"].close()


def test_django_tenants_ways_of_setting_a_tenant_are_refused(acme):
    with pytest.raises(TypeError, match="acting_for"):
        connections["default"].set_tenant(acme)
    connections["default"].set_schema_to_public()
    assert connections["default"].schema_name == "public"
    assert connections[acme.alias].schema_name == "pg_catalog"
    with acting_for(acme):
        assert connections[acme.alias].schema_name == acme.schema


def test_content_types_of_schemas_are_cached_apart(acme, globex):
    ids = []
    for tenant, number in ((acme, 90_001), (globex, 90_002)):
        with acting_for(tenant):
            ContentType.objects.create(id=number, app_label="conversations", model="extra")
    for tenant in (acme, globex, acme):
        with acting_for(tenant):
            ids.append(ContentType.objects.get_by_natural_key("conversations", "extra").id)
    assert ids == [90_001, 90_002, 90_001]


@pytest.fixture
def twin() -> Iterator[Database]:
    """Our database under a second row."""
    with acting_for_platform("a test"):
        row = Database.objects.create(name=f"twin_{uuid4().hex[:8]}", url_variable="DATABASE_URL")
    yield row
    with acting_for_platform("a test"):
        home = Database.objects.get(name="shared_1")
        row.tenants.update(database=home, state="provisioning")  # as tenants that nobody finished making
        row.delete()


def test_a_tenant_lives_where_its_database_row_says(twin):
    slug = f"placed-{uuid4().hex[:8]}"
    tenant = provisioning.create(
        name=slug, slug=slug, vertical="healthcare", plan="pro", database=twin.name, by="a test"
    ).ref()
    assert tenant.alias == f"{twin.name}_v1"
    assert f"_d{twin.pk}_t_" in tenant.role
    with acting_for(tenant):
        EndUser.objects.create(secret_hash="there")
        assert EndUser.objects.get().secret_hash == "there"


def test_a_new_epoch_is_a_new_alias_and_aliases_come_from_the_environment(monkeypatch):
    from django.conf import settings

    monkeypatch.setenv("ELSEWHERE_URL", settings.DATABASE_URL)
    row = Database(name="elsewhere", url_variable="ELSEWHERE_URL")
    assert databases.ensure_alias(row) == "elsewhere_v1"
    row.epoch = 2
    assert databases.ensure_alias(row) == "elsewhere_v2"
    assert {"elsewhere_v1", "elsewhere_v2"} <= set(connections.settings)


def test_aliases_may_be_added_while_threads_read_them():
    faults = []

    def read():
        try:
            for _ in range(300):
                dict(connections.settings.items())
        except RuntimeError as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        databases.ensure_alias(Database(name=f"many_{number}", url_variable="DATABASE_URL"))
    for thread in threads:
        thread.join()
    assert faults == []


def test_work_is_handed_over_when_the_tenants_transaction_commits(acme):
    done = []
    with acting_for(acme):
        with atomic():
            after_commit(lambda: done.append("committed"))
            assert done == []
        assert done == ["committed"]
        with pytest.raises(ValueError), atomic():
            after_commit(lambda: done.append("never"))
            raise ValueError
        assert done == ["committed"]
        with atomic_control(AuditEvent):
            AuditEvent.objects.create(actor="a", action="b")


def test_a_table_that_is_missing_in_a_transaction_is_no_move(acme):
    with acting_for(acme):
        with pytest.raises(ProgrammingError, match="nowhere"), transaction.atomic(using=acme.alias):
            EndUser.objects.raw("select id from nowhere")[0]
        assert state_of(acme) == expected(acme)
