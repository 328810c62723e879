"""What a tenant writes while its rows are copied: noted by triggers, carried after, compared at the end.

Each table gets a trigger that notes the primary key of every row that comes, changes or goes, in a table of the same
name in a schema of the move's own beside the tenant's. Notes belong to the transaction that wrote the row, so a note is
there exactly if the change is. Source: docs/decisions/0009.
"""

import time
from typing import NamedTuple

import psycopg
from psycopg import Connection, errors, sql

from tenants.moves import copying
from tenants.moves.copying import Table

END_ATTEMPTS = 20
END_LOCK_MS = 300  # below Postgres' deadlock_timeout, so that in a deadlock it is us who give way

NOTES = "create table {log}.{table} as select {key}, false as carried from {table} with no data"
NOTE = """
create function {log}.{table}() returns trigger language plpgsql as $note$
begin
    if tg_op = 'DELETE' or tg_op = 'UPDATE' and row({old}) is distinct from row({new}) then
        insert into {log}.{table} values ({old}, false);
    end if;
    if tg_op <> 'DELETE' then
        insert into {log}.{table} values ({new}, false);
    end if;
    return null;
end
$note$
"""
TRIGGER = (
    "create trigger moving after insert or update or delete on {table} for each row execute function {log}.{table}()"
)
CHANGED = "({key}) in (select {key} from {log}.{table} where {which})"


class Keys(NamedTuple):
    """Primary keys of one table: for each of its columns the values as text, and the column's type."""

    types: list[str]
    columns: list[list[str]]


def hindrance(connection: Connection, of: list[Table]) -> str:
    """Why changes cannot be noted here, in a sentence; empty if they can."""
    if unkeyed := [table.name for table in of if not table.key]:
        return f"{', '.join(unkeyed)} has no primary key"
    if strict := [name for _, name, _, deferrable in connection.execute(copying.REFERENCES) if not deferrable]:
        return f"{', '.join(strict)} is checked at once, not at the end of a transaction"
    return ""


def begin(source: Connection, of: list[Table], log: str, role: str) -> None:
    """Note changes from now on. The tables must be locked: who writes after the commit, is noted.

    The connection has entered the tenant's schema; the log's schema must not be there.
    """
    source.execute("set local role none")
    source.execute(f"create schema {log} authorization {role}")
    source.execute(f"set local role {role}")
    for table in of:
        for statement in (NOTES, NOTE, TRIGGER):
            source.execute(_written(statement, table, log))


def end(address: str, log: str) -> None:
    """Note nothing more and forget what was noted. Repeatable. Raises LockNotAvailable if readers never pause."""
    for attempt in range(END_ATTEMPTS):
        try:
            _end(address, log)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if attempt == END_ATTEMPTS - 1:
                raise
            time.sleep(0.05 * attempt)
        else:
            return


def waiting(source: Connection, of: list[Table], log: str) -> list[Table]:
    """The tables with changes that have not been carried."""
    return _with_notes(source, of, log, "not carried")


def carry(source: Connection, target: Connection, of: list[Table], log: str) -> int:
    """Bring changed rows to the target as they are now; return their number. Commit the target first, then the source.

    The source must see one state: under the lock, or in a repeatable read. What is noted meanwhile waits for next time.
    """
    changed = {table: keys_of(source, table, log, "not carried") for table in waiting(source, of, log)}
    for table, keys in changed.items():
        target.execute(sql.SQL("delete from {} where {}").format(sql.Identifier(table.name), among(table, keys)),
                       keys.columns)  # fmt: skip
    for table in changed:
        rows = sql.SQL("(select {} from {} where {})").format(
            copying.names_of(table.columns), sql.Identifier(table.name), noted(table, log, "not carried")
        )
        copying.stream(source, target, table, rows, lambda *_: None)
        source.execute(_written("update {log}.{table} set carried = true where not carried", table, log))
    return sum(len(keys.columns[0]) for keys in changed.values())


def differing(source: Connection, target: Connection, of: list[Table], log: str) -> list[str]:
    """The tables that are not alike at both places, by their number of rows and a checksum of all that was noted."""
    ours, theirs = copying.on_both(copying.counts, (source, of), (target, of))
    found = {name for name in ours if ours[name] != theirs[name]}
    for table in _with_notes(source, of, log, "true"):
        keys = keys_of(source, table, log, "true")
        one, other = copying.on_both(
            copying.check,
            (source, table, noted(table, log, "true")),
            (target, table, among(table, keys), keys.columns),
        )
        found |= {table.name} if one != other else set()
    return sorted(found)


def keys_of(source: Connection, table: Table, log: str, which: str) -> Keys:
    """The noted keys that meet the condition ``which``."""
    types = [
        source.execute("select format_type(atttypid, atttypmod) from pg_attribute where attrelid = %s::regclass"
                       " and attname = %s", [f'{log}."{table.name}"', column]).fetchone()[0]
        for column in table.key
    ]  # fmt: skip
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in table.key)
    query = _written("select distinct {texts} from {log}.{table} where {which}", table, log, texts=texts, which=which)
    rows = source.execute(query).fetchall()
    return Keys(types, [[row[number] for row in rows] for number in range(len(types))])


def noted(table: Table, log: str, which: str) -> sql.Composable:
    """The condition for rows of the source whose keys were noted."""
    return _written(CHANGED, table, log, which=which)


def among(table: Table, keys: Keys) -> sql.Composable:
    """The same condition for the target, which gets the keys as values: ``keys.columns``."""
    lists = sql.SQL(", ").join(sql.SQL("%s::text[]::{}[]").format(sql.SQL(type_)) for type_ in keys.types)
    return sql.SQL("({}) in (select * from unnest({}))").format(copying.names_of(table.key), lists)


def _end(address: str, log: str) -> None:
    with psycopg.connect(address) as source:
        source.execute("select set_config('lock_timeout', %s, true)", [f"{END_LOCK_MS}ms"])
        owner = source.execute(
            "select pg_get_userbyid(nspowner) from pg_namespace where nspname = %s", [log]
        ).fetchone()
        if owner:
            source.execute(f"set local role {owner[0]}")
            source.execute(f"drop schema {log} cascade")  # with its functions go the triggers that call them


def _with_notes(source: Connection, of: list[Table], log: str, which: str) -> list[Table]:
    one = "select {name} where exists (select from {log}.{table} where {which})"
    parts = [_written(one, table, log, name=sql.Literal(table.name), which=which) for table in of]
    names = {name for (name,) in source.execute(sql.SQL(" union all ").join(parts))}
    return [table for table in of if table.name in names]


def _written(statement: str, table: Table, log: str, which: str = "", **parts: sql.Composable) -> sql.Composable:
    def of_row(row: str) -> sql.Composable:
        return sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.SQL(row), sql.Identifier(name)) for name in table.key)

    return sql.SQL(statement).format(
        log=sql.Identifier(log), table=sql.Identifier(table.name), key=copying.names_of(table.key),
        old=of_row("old"), new=of_row("new"), which=sql.SQL(which), **parts,
    )  # fmt: skip
