"""One tenant's database role and schema in one database: made whole, or not at all. Platform work."""

from django.conf import settings
from django.db import connections, transaction

from tenants import databases, schema_template
from tenants.models import Database


def make(database: Database, schema: str, role: str) -> str:
    """Role, schema and tables in one transaction; return the level of migrations. What is there is left as it is."""
    level, sql = schema_template.sql_for(schema)
    alias, login = databases.ensure_provision_alias(database), databases.login_of(database)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        if is_there(cursor, schema):
            return level
        cursor.execute("select 1 from pg_roles where rolname = %s", [role])
        if not cursor.fetchone():
            cursor.execute(f"create role {role} nologin")
        cursor.execute(f"grant {role} to {login} with inherit false, set true")
        cursor.execute(f"grant {role} to {settings.INSTALL}_provision with inherit false, set true")
        cursor.execute(f"create schema {schema} authorization {role}")
        cursor.execute(f"set local role {role}")
        cursor.execute(sql)
        cursor.execute("reset role")
    return level


def drop(database: Database, schema: str, role: str = "") -> None:
    """Drop a schema with all in it, and the role if one is named and owns nothing more. Absent ones are no error.

    role  whose schema it must be: one of another role stands there for another, and is left alone
    """
    alias = databases.ensure_provision_alias(database)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("select pg_get_userbyid(nspowner) from pg_namespace where nspname = %s", [schema])
        owner = cursor.fetchone()
        if owner and role in ("", *owner):
            cursor.execute(f"set local role {owner[0]}")
            cursor.execute(f"drop schema {schema} cascade")
            cursor.execute("reset role")
        if role:
            _drop_role(cursor, role)


def _drop_role(cursor, role: str) -> None:
    """Unless something anywhere in the cluster is still its own, as an older copy of the tenant may be."""
    cursor.execute(
        "select 1 from pg_roles r where rolname = %s and not exists (select 1 from pg_shdepend d"
        " where d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid)",
        [role],
    )
    if cursor.fetchone():
        cursor.execute(f"drop role {role}")


def is_there(cursor, schema: str) -> bool:
    """Whether the cursor's database holds this schema."""
    cursor.execute("select 1 from pg_namespace where nspname = %s", [schema])
    return cursor.fetchone() is not None
