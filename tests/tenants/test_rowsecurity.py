"""Row security on the control plane: what Postgres itself refuses to the run-time role."""

import os

import psycopg
import pytest
from django.conf import settings
from django.db import ProgrammingError, connections

from tenants import rowsecurity
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tenants.models import AuditEvent, Tenant
from tests.conftest import until
from tests.threads import Threads


def test_a16_every_shared_table_is_protected_as_its_model_says():
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute(
            "select c.relname, c.relrowsecurity, c.relforcerowsecurity, p.polname, p.polwithcheck is not null "
            "from pg_class c left join pg_policy p on p.polrelid = c.oid "
            "where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace"
        )
        found = {name: rest for name, *rest in cursor.fetchall()}
    wrong = [
        model._meta.label
        for model in rowsecurity.control_models()
        if (policy := rowsecurity.policy_of(model)) and found[model._meta.db_table] != [True, True, policy, True]
    ]
    assert wrong == []


def test_a16_every_table_with_a_tenant_column_needs_a_policy():
    unprotected = [
        model._meta.label
        for model in rowsecurity.control_models()
        if any(field.column == "tenant_id" for field in model._meta.concrete_fields)
        and rowsecurity.policy_of(model) is None
        and not getattr(model, "readable_by_all", False)
    ]
    assert unprotected == []


def test_a16_the_run_time_role_is_no_superuser_and_owns_nothing():
    with acting_for_platform("a test"), connections["platform"].cursor() as cursor:
        cursor.execute(
            "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = %s",
            [f"{settings.INSTALL}_app"],
        )
        assert cursor.fetchone() == (False, False, False, False)
        cursor.execute("select count(*) from pg_class where relowner = %s::regrole", [f"{settings.INSTALL}_app"])
        assert cursor.fetchone() == (0,)


def test_a16_raw_sql_reads_only_rows_of_the_tenant_at_work(acme, globex):
    with acting_for(acme), connections["default"].cursor() as cursor:
        cursor.execute("select distinct tenant_id from tenants_auditevent")
        assert cursor.fetchall() == [(acme.id,)]
    with connections["default"].cursor() as cursor:
        cursor.execute("select count(*) from tenants_auditevent")
        assert cursor.fetchone() == (0,)


def test_a16_raw_sql_cannot_write_for_another_tenant(acme, globex):
    insert = (
        "insert into tenants_auditevent (id, tenant_id, at, actor, action, details) "
        "values (gen_random_uuid(), %s, now(), 'x', 'y', '{}')"
    )
    with acting_for(acme), connections["default"].cursor() as cursor:
        with pytest.raises(ProgrammingError, match="row-level security"):
            cursor.execute(insert, [globex.id])
        cursor.execute(insert, [acme.id])


def test_the_orm_cannot_write_for_another_tenant(acme, globex):
    with acting_for(acme), pytest.raises(ProgrammingError, match="row-level security"):
        AuditEvent.objects.create(tenant_id=globex.id, actor="x", action="y")


def test_the_audit_trail_and_the_directory_cannot_be_changed_at_run_time(acme):
    with acting_for(acme):
        with pytest.raises(ProgrammingError, match="permission denied"):
            AuditEvent.objects.update(actor="nobody")
        with pytest.raises(ProgrammingError, match="permission denied"):
            Tenant.objects.filter(pk=acme.id).update(name="other")


def test_operators_are_invisible_while_a_tenant_is_at_work(acme):
    with acting_for_platform("a test"):
        User.objects.create_user(f"operator-{acme.id}@platform.example", "correct horse battery", is_staff=True)
    with acting_for(acme), connections["default"].cursor() as cursor:
        cursor.execute("select count(*) from accounts_user")
        assert cursor.fetchone() == (0,)


def test_rights_are_made_anew_while_the_server_counts_a_tables_rows():
    """Autovacuum does that at any time: it has the table, and then waits for whoever has changed its rights."""
    table = AuditEvent._meta.db_table
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as counting, Threads(1) as threads:
        counting.execute(f"lock table {table} in share update exclusive mode")
        applied = threads.submit(lambda: rowsecurity.apply(connections["owner"]))
        until(lambda: waiting_for(table))
        counting.execute(f"analyze {table}")
        counting.commit()
        applied.result()


def waiting_for(table: str) -> bool:
    """Whether somebody waits for the table's lock."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("select 1 from pg_locks where relation = %s::regclass and not granted", [table])
        return cursor.fetchone() is not None
