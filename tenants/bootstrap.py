"""Makes an empty PostgreSQL server ready for Atrium: four login roles and one database.

Pure psycopg, so that it runs before Django can. Running it again changes nothing but the passwords.

=========  ==========================================================================================
owner      owns and migrates the control plane; used by `manage.py deploy` only
app        run time: bound by row security, neither owner nor superuser
platform   operators' work across tenants: row security does not bind it
provision  may create roles, schemas and databases: provisioning, moves and erasure only
=========  ==========================================================================================
"""

from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

ROLES = ("owner", "app", "platform", "provision")
VARIABLES = {
    "owner": "DATABASE_OWNER_URL",
    "app": "DATABASE_URL",
    "platform": "DATABASE_PLATFORM_URL",
    "provision": "DATABASE_PROVISION_URL",
}
ATTRIBUTES = {
    "owner": "NOSUPERUSER NOBYPASSRLS",
    "app": "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE",
    "platform": "NOSUPERUSER BYPASSRLS",
    "provision": "NOSUPERUSER NOBYPASSRLS CREATEDB CREATEROLE REPLICATION",
}


def setup_database(admin_url: str, *, install: str, database: str, passwords: dict[str, str]) -> dict[str, str]:
    """Create what is missing on the server of ``admin_url``; return the four URLs by variable name.

    admin_url  a superuser's URL of any database on the server; only used here
    passwords  by role: owner, app, platform, provision
    """
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for role in ROLES:
            _ensure_role(connection, f"{install}_{role}", ATTRIBUTES[role], passwords[role])
        _ensure_database(connection, database, owner=f"{install}_owner")
    with psycopg.connect(make_conninfo(admin_url, dbname=database), autocommit=True) as connection:
        _grant(connection, database, install)
    place = conninfo_to_dict(admin_url)
    return {
        VARIABLES[role]: url(place, user=f"{install}_{role}", password=passwords[role], database=database)
        for role in ROLES
    }


def url(place: dict, *, user: str, password: str, database: str) -> str:
    """A postgresql:// URL on the server of ``place`` (host and port)."""
    host, port = place.get("host", "localhost"), place.get("port", "5432")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    if str(host).startswith("/"):
        return f"postgresql://{login}@/{database}?host={quote(str(host), safe='')}&port={port}"
    return f"postgresql://{login}@{host}:{port}/{database}"


def _ensure_role(connection, name: str, attributes: str, password: str) -> None:
    there = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
    verb = "alter" if there else "create"
    connection.execute(
        sql.SQL("{} role {} login " + attributes + " password {}").format(
            sql.SQL(verb), sql.Identifier(name), sql.Literal(password)
        )
    )


def _ensure_database(connection, name: str, *, owner: str) -> None:
    if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
        return
    connection.execute(
        sql.SQL("create database {} owner {} template template0 encoding 'UTF8'").format(
            sql.Identifier(name), sql.Identifier(owner)
        )
    )


def _grant(connection, database: str, install: str) -> None:
    """Only our roles may connect; nobody but the owner creates in ``public``."""
    names = {role: sql.Identifier(f"{install}_{role}") for role in ROLES}
    everyone = sql.SQL(", ").join([names["app"], names["platform"], names["provision"]])
    statements = [
        sql.SQL("revoke all on database {} from public"),
        sql.SQL("grant connect on database {} to {everyone}"),
        sql.SQL("grant create on database {} to {provision}"),
    ]
    for statement in statements:
        connection.execute(statement.format(sql.Identifier(database), everyone=everyone, provision=names["provision"]))
    connection.execute(sql.SQL("grant usage on schema public to {}").format(everyone))
    connection.execute(sql.SQL("revoke all on schema public from public"))
