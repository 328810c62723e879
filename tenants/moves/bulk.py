"""Copies and compares many tables at once, by several pairs of connections that see one state of the source."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from threading import Event, Lock
from typing import NamedTuple

import psycopg
from psycopg import Connection, IsolationLevel, sql

from tenants.errors import CopyDiffers
from tenants.moves import copying
from tenants.moves.copying import Check, Table

PAIRS = 2  # more only compete: reading, passing on and writing already keep three processes busy
LOOK_SECONDS = 0.3
# What is copied is thrown away if the server dies before the move's last commit, which waits for the disk
HASTE = "select set_config('synchronous_commit', 'off', false), set_config('maintenance_work_mem', '128MB', false)"


class End(NamedTuple):
    """One end of a move: the provisioning login's address, the tenant's schema there and its role."""

    address: str
    schema: str
    role: str

    def enter(self, connection: Connection) -> None:
        """Work there as the tenant, for this transaction."""
        copying.enter(connection, self.schema, self.role)


class Stopped(Exception):
    """Another table failed, or the operator cancelled: whoever copies ends."""


class Tally:
    """What has been copied so far; counted by all workers, asked by their chief."""

    def __init__(self, of: list[Table]):
        self.rows = self.bytes = 0
        self.of_rows, self.of_bytes = sum(table.rows for table in of), sum(table.bytes for table in of)
        self.stopped = Event()
        self._lock = Lock()

    def add(self, rows: int, size: int) -> None:
        """One more block. Raises Stopped."""
        if self.stopped.is_set():
            raise Stopped
        with self._lock:
            self.rows, self.bytes = self.rows + rows, self.bytes + size

    def correct(self, table: Table, rows: int, size: int) -> None:
        """A table is whole: what was expected of it gives way to what it was."""
        with self._lock:
            self.of_rows += rows - table.rows
            self.of_bytes += size - table.bytes

    def as_progress(self) -> dict:
        """As a move's row holds it."""
        return {"rows": self.rows, "bytes": self.bytes, "of_rows": self.of_rows, "of_bytes": self.of_bytes}


class Lines:
    """Pairs of connections, opened before writers have to wait."""

    def __init__(self, source: End, target: End, pairs: list[tuple[Connection, Connection]]):
        self.source, self.target, self.pairs = source, target, pairs

    def copy(
        self, of: list[Table], indexes: dict[str, list[str]], snapshot: str, look: Callable[[Tally], None]
    ) -> tuple[Tally, dict[str, Check]]:
        """All rows of the tables as the snapshot shows them; each table is committed, with its indexes, and compared.

        look  called some times a second; what it raises ends the copying
        Raises  CopyDiffers
        """
        tally, free = Tally(of), SimpleQueue()
        for pair in self.pairs:
            self._enter(*pair, snapshot)
            free.put(pair)
        with ThreadPoolExecutor(len(self.pairs)) as pool:
            largest_first = sorted(of, key=lambda table: -table.bytes)
            jobs = [pool.submit(self._one, free, table, indexes.get(table.name, []), tally) for table in largest_first]
            self._await(jobs, tally, look)
        for source, _ in self.pairs:
            source.rollback()
        return tally, {table.name: job.result() for table, job in zip(largest_first, jobs, strict=True)}

    def _enter(self, source: Connection, target: Connection, snapshot: str) -> None:
        source.isolation_level = IsolationLevel.REPEATABLE_READ
        source.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(snapshot)))
        self.source.enter(source)
        target.execute(HASTE)
        target.commit()

    def _one(self, free: SimpleQueue, table: Table, indexes: list[str], tally: Tally) -> Check:
        rows = size = 0

        def report(more_rows: int, more_bytes: int) -> None:
            nonlocal rows, size
            rows, size = rows + more_rows, size + more_bytes
            tally.add(more_rows, more_bytes)

        source, target = pair = free.get()
        try:
            self.target.enter(target)
            copying.fill(source, target, table, indexes, report)
            tally.correct(table, rows, size)
            target.commit()
            return self._compared(source, target, table)
        finally:
            target.rollback()
            free.put(pair)

    def _compared(self, source: Connection, target: Connection, table: Table) -> Check:
        self.target.enter(target)
        ours, theirs = copying.on_both(copying.check, (source, table), (target, table))
        if ours != theirs:
            raise CopyDiffers(f"The copy of {table.name} differs. It was thrown away.")
        return ours

    def _await(self, jobs: list[Future], tally: Tally, look: Callable[[Tally], None]) -> None:
        try:
            while (state := wait(jobs, LOOK_SECONDS, FIRST_EXCEPTION)).not_done:
                for job in state.done:
                    job.result()
                look(tally)
            for job in jobs:
                job.result()
        except BaseException:
            self._stop(jobs, tally)
            raise

    def _stop(self, jobs: list[Future], tally: Tally) -> None:
        tally.stopped.set()
        for job in jobs:
            job.cancel()
        while True:  # a worker between two statements does not notice, and may then wait for a lock
            for connection in (connection for pair in self.pairs for connection in pair):
                connection.cancel_safe(timeout=2)
            if not wait(jobs, LOOK_SECONDS).not_done:
                return


def as_progress(checks: dict[str, Check]) -> dict[str, list]:
    """As a move's row holds them: JSON's numbers are too small for checksums."""
    return {name: [check.rows, str(check.checksum)] for name, check in checks.items()}


@contextmanager
def lines(source: End, target: End) -> Iterator[Lines]:
    """Pairs of connections between two ends."""
    with ExitStack() as stack:
        yield Lines(source, target, [
            tuple(stack.enter_context(psycopg.connect(end.address)) for end in (source, target)) for _ in range(PAIRS)
        ])  # fmt: skip
