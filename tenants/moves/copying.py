"""Copies one tenant's schema between two databases: tables, rows, indexes, sequences, checks.

Keys between tables and indexes are taken away, rows streamed in binary, and both made again, which is faster than
keeping them up row by row. The connections must have entered the tenant's schema (`enter`) before.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from psycopg import Connection, sql

BLOCK_BYTES = 128 * 1024
SMALL_BYTES = 1_000_000  # of a table whose indexes are kept up sooner than made again


class Table(NamedTuple):
    """A table of the source, its columns and primary key by name, because their order may differ between the places.

    hashed  one SQL expression for each column, of a type that can be hashed without being made text
    rows    the planner's estimate; 0 where there is none
    """

    name: str
    columns: tuple[str, ...]
    hashed: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    bytes: int = 0
    rows: int = 0

    @property
    def shape(self) -> tuple:
        """What must be equal for a copy of it to go on."""
        return self.name, self.columns, self.key


class Check(NamedTuple):
    """What must be equal on both sides."""

    rows: int
    checksum: int


TABLES = """
select c.relname,
    array_agg(a.attname::text order by a.attname),
    array_agg(case when exists (
            select 1 from pg_opclass o join pg_am m on m.oid = o.opcmethod
            where m.amname = 'hash' and o.opcdefault and o.opcintype = a.atttypid
        ) then format('%I', a.attname) else format('%I::text', a.attname) end order by a.attname),
    array(
        select k.attname::text from pg_index i join pg_attribute k on k.attrelid = c.oid and k.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary order by k.attname),
    pg_table_size(c.oid), greatest(c.reltuples, 0)::bigint
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
  and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
group by c.oid order by c.relname
"""
REFERENCES = """
select conrelid::regclass::text, conname, pg_get_constraintdef(oid), condeferrable
from pg_constraint where connamespace = current_schema()::regnamespace and contype = 'f'
"""
UNCHECKED = """
select conrelid::regclass::text, conname
from pg_constraint where connamespace = current_schema()::regnamespace and contype = 'f' and not convalidated
"""
INDEXES = """
select i.indrelid::regclass::text, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indrelid
where c.relnamespace = current_schema()::regnamespace
  and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid)
"""
UNIQUES = """
select conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = current_schema()::regnamespace and contype in ('p', 'u', 'x')
"""
SEQUENCES = "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'S'"


def enter(connection: Connection, schema: str, role: str) -> None:
    """Work as the tenant's role in its schema, for this transaction."""
    connection.execute(
        "select set_config('role', %s, true), set_config('search_path', %s, true), set_config('TimeZone', 'UTC', true)",
        [role, schema],
    )


def tables(connection: Connection) -> list[Table]:
    """All tables by name."""
    return [
        Table(name, tuple(columns), tuple(hashed), tuple(key), size, rows)
        for name, columns, hashed, key, size, rows in connection.execute(TABLES)
    ]


def lock(connection: Connection, of: list[Table], mode: str = "share") -> None:
    """Make writers wait; readers go on. Raises psycopg.errors.LockNotAvailable, DeadlockDetected."""
    names = sql.SQL(", ").join(sql.Identifier(table.name) for table in of)
    connection.execute(sql.SQL("lock table {} in {} mode").format(names, sql.SQL(mode)))


class Bare(NamedTuple):
    """What was taken away from the target: keys between tables, and by table the statements that make its indexes."""

    keys: list[tuple[str, str, str]]
    indexes: dict[str, list[str]]


def strip(target: Connection, of: list[Table]) -> Bare:
    """Empty the target's tables and take away what large ones need not keep up row by row.

    of  tables of the source, whose sizes count. `fill` and `restore_keys` make it all again.
    """
    keys = [key[:3] for key in target.execute(REFERENCES).fetchall()]
    indexes: dict[str, list[str]] = {table.name: [] for table in of if table.bytes > SMALL_BYTES}
    for table, name, *_ in keys:
        target.execute(f'alter table {table} drop constraint "{name}"')
    for table, name, definition in target.execute(INDEXES).fetchall():
        if (held := indexes.get(table.strip('"'))) is not None:
            target.execute(f"drop index {name}")
            held.append(definition)
    for table, name, definition in target.execute(UNIQUES).fetchall():
        if (held := indexes.get(table.strip('"'))) is not None:
            target.execute(f'alter table {table} drop constraint "{name}"')
            held.append(f'alter table {table} add constraint "{name}" {definition}')
    names = sql.SQL(", ").join(sql.Identifier(table.name) for table in of)
    target.execute(sql.SQL("truncate {}").format(names))  # the template's own rows
    return Bare(keys, indexes)


def fill(
    source: Connection, target: Connection, table: Table, indexes: list[str], report: Callable[[int, int], None]
) -> None:
    """All rows of one table, then its indexes, in one transaction. ``report(rows, bytes)`` is called for each block."""
    # Emptied in this very transaction, rows may be put in as frozen: nobody needs to write to each page once more
    target.execute(sql.SQL("truncate {}").format(sql.Identifier(table.name)))
    stream(source, target, table, sql.Identifier(table.name), report, freeze=True)
    for definition in indexes:
        target.execute(definition)


def stream(
    source: Connection,
    target: Connection,
    table: Table,
    rows: sql.Composable,
    report: Callable[[int, int], None],
    *,
    freeze: bool = False,
) -> None:
    """Copy rows to the table. ``rows``: what COPY reads, a table or a query with the table's columns."""
    columns = names_of(table.columns)
    of = rows if not isinstance(rows, sql.Identifier) else sql.SQL("{} ({})").format(rows, columns)
    read = sql.SQL("copy {} to stdout (format binary)").format(of)
    write = sql.SQL("copy {} ({}) from stdin (format binary, freeze {})").format(
        sql.Identifier(table.name), columns, sql.Literal(freeze)
    )
    with source.cursor().copy(read) as reading, target.cursor().copy(write) as writing:
        held, number = bytearray(), -1  # the last message is the end mark, not a row
        for row in reading:
            held += row
            number += 1
            if len(held) >= BLOCK_BYTES:  # a write for each row would cost more than the row
                writing.write(held)
                report(number, len(held))
                held, number = bytearray(), 0
        writing.write(held)
        report(number, len(held))


def restore_keys(target: Connection, keys: list[tuple[str, str, str]]) -> None:
    """The keys between tables, for new rows. `check_keys` looks at the copied ones."""
    for table, name, definition in keys:
        target.execute(f'alter table {table} add constraint "{name}" {definition} not valid')


def check_keys(target: Connection) -> None:
    """Let the planner rely on keys again. Writers go on meanwhile; the rows are known to be as they were."""
    for table, name in target.execute(UNCHECKED).fetchall():
        target.execute(f'alter table {table} validate constraint "{name}"')


def analyze(connection: Connection, of: Iterable[Table]) -> None:
    """Statistics for the planner."""
    for table in of:
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(table.name)))


def copy_sequences(source: Connection, target: Connection) -> None:
    """Where each sequence stands."""
    names = [name for (name,) in source.execute(SEQUENCES)]
    if not names:
        return
    one = sql.SQL("select {}, last_value, is_called from {}")
    query = sql.SQL(" union all ").join(one.format(sql.Literal(name), sql.Identifier(name)) for name in names)
    for name, *value in source.execute(query).fetchall():
        target.execute("select setval(%s::regclass, %s, %s)", [f'"{name}"', *value])


def check(connection: Connection, table: Table, rows: sql.Composable | None = None, values: Iterable = ()) -> Check:
    """Row count and checksum of a table, or of those of its rows that meet the condition ``rows``.

    The checksum does not depend on the order of rows or columns.
    """
    query = sql.SQL("select count(*), coalesce(sum(hash_record_extended(row({}), 0)), 0) from {} where {}").format(
        sql.SQL(", ").join(map(sql.SQL, table.hashed)), sql.Identifier(table.name), rows or sql.SQL("true")
    )
    number, checksum = connection.execute(query, list(values)).fetchone()
    return Check(number, int(checksum))


def counts(connection: Connection, of: list[Table]) -> dict[str, int]:
    """The number of rows of each table, by one statement."""
    one = sql.SQL("select {}, count(*) from {}")
    parts = (one.format(sql.Literal(table.name), sql.Identifier(table.name)) for table in of)
    return dict(connection.execute(sql.SQL(" union all ").join(parts)).fetchall())


def on_both(work: Callable, one: tuple, other: tuple) -> tuple:
    """The results of the same work on both sides, done at the same time."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(work, *one), pool.submit(work, *other)
        return first.result(), second.result()


def names_of(columns: Iterable[str]) -> sql.Composable:
    """Columns as SQL lists them."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))
