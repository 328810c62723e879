"""Attempts on the data plane: the other tenant's schema, and work that is for nobody."""

from datetime import timedelta
from uuid import uuid4

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connections
from django.utils import timezone

from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.isolation.attempts import Try, Untried, for_nobody, is_refused, postgres_refuses, rows, taken_by_postgres

STATEMENTS = (
    "select 1 from {table} limit 1",
    "insert into {table} select * from {table} where false",
    "delete from {table} where false",
    "drop table {table}",
)


def tries(own: TenantRef, other: TenantRef) -> list[Try]:
    """What ``own`` may not do to the schema of ``other``."""
    return [
        Try("context.nested", "Work for one tenant turns into work for another, or for the platform.",
            lambda: _nested(own, other)),
        Try("orm.equal_keys", "Models read, change and delete by a key that exists at both tenants.",
            lambda: _equal_keys(own, other)),
        Try("orm.without_context", "Models are asked for a tenant's rows while nothing says whose.",
            lambda: _orm_without_context(own)),
        Try("sql.other_schema", "SQL under the tenant's own role names the other tenant's tables.",
            lambda: _other_schema(own, other)),
        Try("sql.control_plane", "SQL under the tenant's own role names tables of the control plane.",
            lambda: _control_plane(own)),
        Try("sql.without_context", "SQL is sent to a tenant's database while nothing says whose.",
            lambda: _sql_without_context(own)),
        Try("sql.kept_cursor", "A cursor opened for the other tenant is used in the tenant's work.",
            lambda: _kept_cursor(own, other)),
        Try("sql.platform_login", "A tenant's work asks for the logins of platform and provisioning.",
            lambda: _platform_login(own)),
    ]  # fmt: skip


def data_tables() -> list[str]:
    """The tables that stand in every tenant's schema."""
    labels = {*settings.DATA_APPS, *settings.BOTH_APPS}
    models = apps.get_models(include_auto_created=True)
    return [model._meta.db_table for model in models if model._meta.app_label in labels and model._meta.managed]


def _nested(own: TenantRef, other: TenantRef) -> list[str]:
    leaks = []
    for words, inner in (("the other tenant", acting_for(other)), ("the platform", acting_for_platform("isolation"))):
        try:
            with acting_for(own), inner:
                leaks.append(f"work for the tenant became work for {words}")
        except RuntimeError:
            continue
    return leaks


def _equal_keys(own: TenantRef, other: TenantRef) -> list[str]:
    """A session in each schema under one key; neither opens anything, because what it holds cannot be read."""
    key, until = uuid4().hex, timezone.now() + timedelta(minutes=10)
    try:
        for ref in (own, other):
            with acting_for(ref):
                Session.objects.create(session_key=key, session_data=ref.schema, expire_date=until)
        with acting_for(own):
            twins = Session.objects.filter(session_key=key)
            seen = [row.session_data for row in twins]
            changed, (deleted, _) = twins.update(session_data="changed"), twins.delete()
        with acting_for(other):
            kept = [row.session_data for row in Session.objects.filter(session_key=key)]
    finally:
        for ref in (own, other):
            with acting_for(ref):
                Session.objects.filter(session_key=key).delete()
    if not seen:
        raise Untried("the tenant did not find its own row")
    return [
        words
        for words, leaked in (
            ("the tenant read the other's row", seen != [own.schema]),
            ("the tenant changed or deleted more than its own row", (changed, deleted) != (1, 1)),
            ("the other's row was changed or deleted", kept != [other.schema]),
        )
        if leaked
    ]


def _orm_without_context(own: TenantRef) -> list[str]:
    models = {
        "the router's choice": lambda: Session.objects.exists(),
        "the tenant's database": lambda: Session.objects.using(own.alias).exists(),
    }
    return [f"{words} was read" for words, call in models.items() if not for_nobody(lambda call=call: is_refused(call))]


def _other_schema(own: TenantRef, other: TenantRef) -> list[str]:
    with acting_for(own):
        (role,) = rows(own.alias, "select current_user")[0]
        leaks = [] if role == own.role else [f"SQL ran as {role}, not under the tenant's own role"]
        foreign = [f'"{other.schema}"."{table}"' for table in data_tables()]
        asked = [statement.format(table=table) for table in foreign for statement in STATEMENTS]
        leaks += taken_by_postgres(own.alias, asked, absent=own.alias != other.alias)
    return leaks


def _control_plane(own: TenantRef) -> list[str]:
    with acting_for(own):
        return [
            f"public.{table} was read"
            for table in ("tenants_tenant", "tenants_auditevent", "accounts_user", "django_session")
            if not postgres_refuses(own.alias, STATEMENTS[0].format(table=f"public.{table}"), absent=True)
        ]


def _sql_without_context(own: TenantRef) -> list[str]:
    refused = for_nobody(lambda: is_refused(lambda: rows(own.alias, "select 1")))
    return [] if refused else [f"the database {own.alias} ran SQL for nobody"]


def _kept_cursor(own: TenantRef, other: TenantRef) -> list[str]:
    with acting_for(other):
        cursor = connections[other.alias].cursor()
    with cursor, acting_for(own):
        if own.alias != other.alias:
            return [] if is_refused(lambda: cursor.execute("select 1")) else ["the other's database ran SQL"]
        cursor.execute("select current_user, current_schema(), current_setting('app.tenant_id')")
        found = cursor.fetchone()
    return [] if found == (own.role, own.schema, str(own.id)) else [f"the cursor still works as {found[0]}"]


def _platform_login(own: TenantRef) -> list[str]:
    with acting_for(own):
        return [
            f"the login of {alias} ran SQL in a tenant's work"
            for alias in ("platform", "provision")
            if not is_refused(lambda alias=alias: rows(alias, "select 1"))
        ]
