"""Copies one tenant's schema between two connections. Both must have entered it (`enter`) before.

Everything is put in by one transaction of the target: keys between tables and indexes are taken away, rows streamed
in binary, and both made again, which is faster than keeping them up row by row.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from psycopg import Connection, sql

BLOCK_BYTES = 128 * 1024


class Table(NamedTuple):
    """A table and its columns, by name, because their order may differ between the places."""

    name: str
    columns: tuple[str, ...]


class Check(NamedTuple):
    """What must be equal on both sides."""

    rows: int
    checksum: int


TABLES = """
select c.relname, array_agg(a.attname::text order by a.attname)
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
  and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
group by c.relname order by c.relname
"""
REFERENCES = """
select conrelid::regclass::text, confrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = current_schema()::regnamespace and contype = 'f'
"""
INDEXES = """
select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indrelid
where c.relnamespace = current_schema()::regnamespace
  and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid)
"""
SEQUENCES = "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'S'"


def enter(connection: Connection, schema: str, role: str) -> None:
    """Work as the tenant's role in its schema, for this transaction."""
    connection.execute(
        "select set_config('role', %s, true), set_config('search_path', %s, true), set_config('TimeZone', 'UTC', true)",
        [role, schema],
    )


def tables(connection: Connection) -> list[Table]:
    """All tables, those that are referred to first."""
    found = {name: Table(name, tuple(columns)) for name, columns in connection.execute(TABLES)}
    needs = {name: set() for name in found}
    for child, parent, *_ in connection.execute(REFERENCES):
        if child != parent:
            needs[child.strip('"')].add(parent.strip('"'))
    ordered: list[str] = []
    while needs:
        ready = sorted(name for name, parents in needs.items() if not parents - set(ordered)) or sorted(needs)
        ordered += ready  # where tables refer to each other in a circle, any order will do: keys are made last
        needs = {name: parents for name, parents in needs.items() if name not in ordered}
    return [found[name] for name in ordered]


def lock(connection: Connection, of: list[Table]) -> None:
    """Make writers wait; readers go on. Raises psycopg.errors.LockNotAvailable, DeadlockDetected."""
    names = sql.SQL(", ").join(sql.Identifier(table.name) for table in of)
    connection.execute(sql.SQL("lock table {} in share mode").format(names))


def copy(source: Connection, target: Connection, of: list[Table], report: Callable[[Table, int], None]) -> None:
    """All rows and sequences. ``report(table, bytes)`` is called after each table."""
    names = sql.SQL(", ").join(sql.Identifier(table.name) for table in of)
    target.execute(sql.SQL("truncate {}").format(names))  # the template's own rows
    keys, indexes = target.execute(REFERENCES).fetchall(), target.execute(INDEXES).fetchall()
    for table, _, name, _ in keys:
        target.execute(f'alter table {table} drop constraint "{name}"')
    for name, _ in indexes:
        target.execute(f"drop index {name}")
    for table in of:
        report(table, _stream(source, target, table))
    for _, definition in indexes:
        target.execute(definition)
    for table, _, name, definition in keys:
        target.execute(f'alter table {table} add constraint "{name}" {definition}')
    _sequences(source, target)


def checks(connection: Connection, of: list[Table]) -> dict[str, Check]:
    """Row count and checksum of each table; the checksum does not depend on the order of rows or columns."""
    found = {}
    for table in of:
        query = "select count(*), coalesce(sum(hashtextextended(row({})::text, 0)), 0) from {}"
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        row = connection.execute(sql.SQL(query).format(columns, sql.Identifier(table.name))).fetchone()
        found[table.name] = Check(row[0], int(row[1]))
    return found


def compared(source: Connection, target: Connection, of: list[Table]) -> tuple[dict[str, Check], dict[str, Check]]:
    """The checks of both sides, made at the same time."""
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(checks, source, of), pool.submit(checks, target, of)
        return one.result(), other.result()


def _stream(source: Connection, target: Connection, table: Table) -> int:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    read = sql.SQL("copy {} ({}) to stdout (format binary)").format(sql.Identifier(table.name), columns)
    write = sql.SQL("copy {} ({}) from stdin (format binary)").format(sql.Identifier(table.name), columns)
    size, held = 0, bytearray()
    with source.cursor().copy(read) as reading, target.cursor().copy(write) as writing:
        for row in reading:
            held += row
            if len(held) >= BLOCK_BYTES:  # a write for each row would cost more than the row
                writing.write(held)
                size, held = size + len(held), bytearray()
        writing.write(held)
    return size + len(held)


def _sequences(source: Connection, target: Connection) -> None:
    for (name,) in source.execute(SEQUENCES).fetchall():
        value = source.execute(sql.SQL("select last_value, is_called from {}").format(sql.Identifier(name))).fetchone()
        target.execute("select setval(%s::regclass, %s, %s)", [f'"{name}"', *value])
