"""What PostgreSQL's catalogues say of the walls: policies, grants, roles, logins."""

import psycopg
from django.apps import apps
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenants import databases
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.isolation.attempts import Try, rows
from tenants.models import Database, Tenant

POLICIES = """
select c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
       has_any_column_privilege(%(app)s, c.oid, 'select, insert, update')
           or has_table_privilege(%(app)s, c.oid, 'delete'),
       has_any_column_privilege(%(app)s, c.oid, 'insert, update') or has_table_privilege(%(app)s, c.oid, 'delete'),
       array(select pg_get_expr(polqual, polrelid) from pg_policy where polrelid = c.oid),
       array(select coalesce(pg_get_expr(polwithcheck, polrelid), '') from pg_policy where polrelid = c.oid)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace order by 1
"""
OWNED_BY = "select relname from pg_class where pg_get_userbyid(relowner) = any(%s)"
RULE = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::bigint)"


def tries(own: TenantRef, other: TenantRef) -> list[Try]:
    """What the catalogues must say of ``own``."""
    found = [
        Try("catalogue.row_security",
            "Every shared table with a tenant column has forced row security with a write check.",
            _row_security),
        Try("catalogue.runtime_login",
            "The login of the run time is bound by row security, creates nothing, owns nothing.",
            lambda: _runtime_login(own)),
        Try("catalogue.tenant_role",
            "The tenant's role cannot log in, is bound by row security, and is member of no other.",
            lambda: _tenant_role(own)),
        Try("catalogue.tenant_grants", "The tenant's role has rights in its own schema alone.",
            lambda: _tenant_grants(own)),
    ]  # fmt: skip
    with acting_for_platform("isolation check"):
        home = Tenant.objects.select_related("database").get(pk=own.id).database
    if home.kind == Database.Kind.DEDICATED:
        found.append(Try("dedicated.login",
                         "Logins of other databases are used at the dedicated one, and its own elsewhere.",
                         lambda: _dedicated_login(home)))  # fmt: skip
    return found


def _asked(statement: str, params: dict | list) -> list[tuple]:
    with acting_for_platform("isolation check"):
        return rows("platform", statement, params)


def _row_security() -> list[str]:
    readable = {m._meta.db_table for m in apps.get_models() if getattr(m, "readable_by_all", False)}
    leaks = []
    for table, on, forced, part, reachable, writable, reads, writes in _asked(POLICIES, {"app": _app()}):
        if table in readable:
            leaks += [f"{table} is everybody's to read, and may be written"] if writable else []
        elif part and not reachable:
            continue  # only reached through its whole, whose policy holds
        elif not (on and forced):
            leaks.append(f"{table} has no forced row security")
        elif reads != [RULE] or writes != [RULE]:
            leaks.append(f"{table} has other rules than the one for its tenant: {reads}, {writes}")
    return leaks


def _app() -> str:
    return f"{settings.INSTALL}_app"


def _runtime_login(own: TenantRef) -> list[str]:
    with acting_for(own):
        logins = {rows(alias, "select session_user")[0][0] for alias in ("default", own.alias)}
        owned = rows(own.alias, OWNED_BY, [list(logins)])
    owned += _asked(OWNED_BY, [list(logins)])
    mighty = _asked(
        "select rolname from pg_roles where rolname = any(%s)"
        " and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)", [list(logins)]
    )  # fmt: skip
    return [f"{name} stands above row security or may create" for (name,) in mighty] + [
        f"it owns {name}" for (name,) in owned
    ]


def _tenant_role(own: TenantRef) -> list[str]:
    mighty = _asked(
        "select 1 from pg_roles where rolname = %s and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole"
        " or rolcreatedb or rolreplication)", [own.role]
    )  # fmt: skip
    member = _asked(
        "select roleid::regrole::text from pg_auth_members"
        " where member = (select oid from pg_roles where rolname = %s)",
        [own.role],
    )
    there = _asked("select 1 from pg_roles where rolname = %s", [own.role])
    return (
        ([] if there else [f"there is no role {own.role}"])
        + (["it may log in, create, or stands above row security"] if mighty else [])
        + [f"it is a member of {name}" for (name,) in member]
    )


def _tenant_grants(own: TenantRef) -> list[str]:
    notes = f"^{own.schema}_c[0-9a-f]+$"  # its own too, while it is moved: what it writes meanwhile
    with acting_for(own):
        schemas = rows(
            own.alias,
            "select nspname from pg_namespace where nspname <> %s and nspname not like 'pg\\_%%'"
            " and nspname <> 'information_schema' and nspname !~ %s"
            " and (has_schema_privilege(%s, oid, 'usage, create'))",
            [own.schema, notes, own.role],
        )
        tables = rows(
            own.alias,
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p', 'v', 'm', 'S') and n.nspname like 't\\_%%' and n.nspname <> %s"
            " and n.nspname !~ %s"
            " and has_table_privilege(%s, c.oid, 'select, insert, update, delete, truncate') limit 20",
            [own.schema, notes, own.role],
        )
    return [f"it has rights in {name}" for (name,) in [*schemas, *tables]]


def _dedicated_login(home: Database) -> list[str]:
    theirs, ours = conninfo_to_dict(databases.address(home)), conninfo_to_dict(settings.DATABASE_URL)
    place = {key: theirs.get(key) for key in ("host", "port", "dbname") if theirs.get(key)}
    login = {key: theirs.get(key) for key in ("user", "password")}
    visits = {
        "the shared login got into the dedicated database": make_conninfo(settings.DATABASE_URL, **place),
        "the dedicated login got into the shared database": make_conninfo(settings.DATABASE_URL, **login),
    }
    if theirs["user"] == ours["user"]:
        return ["the dedicated database has no login of its own"]
    return [words for words, address in visits.items() if _lets_in(address)]


def _lets_in(address: str) -> bool:
    try:
        psycopg.connect(address, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        # libpq gives no code for a refused login: only its words tell it from a server that is away
        if "permission denied" in str(error) or "authentication failed" in str(error):
            return False
        raise
    return True
