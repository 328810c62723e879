"""Attempts on the control plane, where rows of all tenants stand in the same tables."""

from django.db import models

from tenants import rowsecurity
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.isolation.attempts import Try, Untried, affected, for_nobody, is_refused, postgres_refuses, rows
from tenants.models import TenantManager

# Names of tables and columns come from our own models, never from input
ANY = "select 1 from {table} {condition} limit 1"
SEEN = "select 1 from ({sql}) as seen where tenant_id <> %s limit 1"
MOVE = "update {table} set tenant_id = %s where tenant_id = %s"
INSERT = "insert into {table} ({columns}) values ({values})"


def tries(own: TenantRef, other: TenantRef) -> list[Try]:
    """What ``own`` may not do to rows of ``other``."""
    return [
        Try("shared.manager", "Queries that models make in the tenant's work are run without row security.",
            lambda: _manager(own, other)),
        Try("shared.orm", "Models whose own filter is left out are asked for the other tenant's rows.",
            lambda: _unfiltered_models(own, other)),
        Try("shared.sql_read", "SQL names rows of the other tenant in shared tables.",
            lambda: _sql_read(own, other)),
        Try("shared.sql_write", "SQL inserts rows for the other tenant, or gives it the tenant's own.",
            lambda: _sql_write(own, other)),
        Try("shared.sql_change", "SQL changes and deletes rows of the other tenant in shared tables.",
            lambda: _sql_change(own, other)),
        Try("shared.without_context", "Shared tables are read while nothing says for whom.",
            lambda: _without_context(other)),
        Try("shared.operators", "A tenant's work reads operators' accounts and sessions.",
            lambda: _operators(own)),
        Try("shared.directory", "A tenant's work changes where tenants live and what leads to them.",
            lambda: _directory(own, other)),
    ]  # fmt: skip


def owned() -> list[type[models.Model]]:
    """The models whose rows belong to a tenant."""
    return [model for model in rowsecurity.control_models() if rowsecurity.policy_of(model) == "tenant_rows"]


def _table(model: type[models.Model]) -> str:
    return f'"{model._meta.db_table}"'


def _any(model: type[models.Model], condition: str = "") -> str:
    return ANY.format(table=_table(model), condition=condition)


def _readable() -> list[type[models.Model]]:
    return [model for model in owned() if "select" in rowsecurity.grants_of(model)]


def _to_reach_for(other: TenantRef) -> None:
    """Raises Untried: none of the tables has a row of the other tenant."""
    with acting_for_platform("isolation check"):
        for model in _readable():
            if rows("platform", _any(model, "where tenant_id = %s"), [other.id]):
                return
    raise Untried("the other tenant has no row in any shared table")


def _manager(own: TenantRef, other: TenantRef) -> list[str]:
    _to_reach_for(other)
    with acting_for(own):
        queries = {model: model._default_manager.all().query.sql_with_params() for model in owned()}
    leaks = [model._meta.db_table for model in owned() if not isinstance(model._default_manager, TenantManager)]
    with acting_for_platform("isolation check"):
        for model, (sql, params) in queries.items():
            if rows("platform", SEEN.format(sql=sql), [*params, own.id]):
                leaks.append(model._meta.db_table)
    return [f"the query on {table} finds rows of others" for table in leaks]


def _unfiltered_models(own: TenantRef, other: TenantRef) -> list[str]:
    _to_reach_for(other)
    with acting_for(own):
        found = [
            model
            for model in _readable()
            if models.QuerySet(model).using("default").filter(tenant_id=other.id).exists()
        ]
    return [f"{model._meta.db_table} was read" for model in found]


def _sql_read(own: TenantRef, other: TenantRef) -> list[str]:
    _to_reach_for(other)
    with acting_for(own):
        found = [model for model in _readable() if rows("default", _any(model, "where tenant_id <> %s"), [own.id])]
    return [f"{model._meta.db_table} was read" for model in found]


def _sql_write(own: TenantRef, other: TenantRef) -> list[str]:
    """Row security is asked before any other rule of a row, so it need not be a whole one."""
    leaks = []
    with acting_for(own):
        for model in owned():
            table = _table(model)
            if not postgres_refuses("default", _insert(model), [other.id]):
                leaks.append(f"{model._meta.db_table} took a row for the other tenant")
            mine = rows("default", _any(model)) if model in _readable() else []
            move = MOVE.format(table=table)
            if mine and not postgres_refuses("default", move, [other.id, own.id]):
                leaks.append(f"{model._meta.db_table} let a row be given to the other tenant")
    return leaks


def _insert(model: type[models.Model]) -> str:
    """A row of a tenant, with the times that say into which part of a divided table it goes."""
    times = [f.column for f in model._meta.concrete_fields if isinstance(f, models.DateTimeField) and not f.null]
    columns, values = ", ".join(["tenant_id", *times]), ", ".join(["%s", *("now()" for _ in times)])
    return INSERT.format(table=_table(model), columns=columns, values=values)


def _sql_change(own: TenantRef, other: TenantRef) -> list[str]:
    _to_reach_for(other)
    statements = {
        "update": "update {table} set tenant_id = tenant_id where tenant_id = %s",
        "delete": "delete from {table} where tenant_id = %s",
    }
    leaks = []
    with acting_for(own):
        for model in owned():
            for right, statement in statements.items():
                sql = statement.format(table=_table(model))
                if right in rowsecurity.grants_of(model):
                    reached = affected("default", sql, [other.id]) > 0
                else:
                    reached = not postgres_refuses("default", sql, [other.id])
                if reached:
                    leaks.append(f"{right} on {model._meta.db_table}")
    return leaks


def _without_context(other: TenantRef) -> list[str]:
    _to_reach_for(other)
    return for_nobody(_read_for_nobody)


def _read_for_nobody() -> list[str]:
    leaks = []
    for model in _readable():
        if not is_refused(lambda model=model: model._default_manager.exists()):
            leaks.append(f"models read {model._meta.db_table}")
        if rows("default", _any(model)):
            leaks.append(f"SQL read {model._meta.db_table}")
    return leaks


def _operators(own: TenantRef) -> list[str]:
    guarded = [m for m in rowsecurity.control_models() if rowsecurity.policy_of(m) == "platform_rows"]
    with acting_for(own):
        found = [model for model in guarded if rows("default", _any(model))]
    return [f"{model._meta.db_table} was read" for model in found]


def _directory(own: TenantRef, other: TenantRef) -> list[str]:
    statements = (
        "update tenants_tenant set database_id = database_id where id = %s",
        "delete from tenants_tenant where id = %s",
        "update tenants_domain set tenant_id = tenant_id where tenant_id = %s",
        "delete from tenants_domain where tenant_id = %s",
    )
    with acting_for(own):
        return [sql for sql in statements if not postgres_refuses("default", sql, [other.id])]
