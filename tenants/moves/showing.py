"""Shows a move to somebody at a terminal while it runs: one line that changes, or a line now and then in a log."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from django.core.management.base import CommandError, OutputWrapper
from django.db import connections

from platform_site.amounts import megabytes
from tenants.models import Move
from tenants.moves import progress
from tenants.moves.progress import Facts

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 5
BAR = 20
LEFT = (
    "Interrupted, but the move is not ended: a worker goes on with it within seconds. Do so at once with "
    "manage.py move_resume {key}, or stop it with --cancel."
)


@contextmanager
def shown(move: Move, on: OutputWrapper) -> Iterator[None]:
    """Inside the block, somebody else's work on the move is looked at and told. Ctrl-C leaves it to a worker."""
    ended = threading.Event()
    watcher = threading.Thread(target=copy_context().run, args=[_watch, move, on, ended], daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError(LEFT.format(key=move.pk.hex[-12:]), returncode=130) from None
    finally:
        ended.set()
        watcher.join()


def line(facts: Facts) -> str:
    """The step, and once rows are copied how many, how fast and how long it will take."""
    if not facts.bytes:
        return facts.at.name
    done = BAR * facts.percent // 100
    parts = [
        f"[{'#' * done}{'.' * (BAR - done)}] {facts.percent} %",
        f"{facts.rows:,} of {facts.of_rows:,} rows",
        f"{megabytes(facts.bytes)} of {megabytes(facts.of_bytes)}",
    ]
    if facts.bytes_per_second:
        parts.append(f"{megabytes(facts.bytes_per_second)}/s")
    if facts.seconds_left is not None:
        parts.append(f"{facts.seconds_left:,.0f} s left")
    return f"{facts.at.name}: {', '.join(parts)}"


def _watch(move: Move, on: OutputWrapper, ended: threading.Event) -> None:
    is_terminal, told = on.isatty(), ""
    try:
        while not ended.wait(TERMINAL_SECONDS if is_terminal else LOG_SECONDS):
            text = line(progress.facts(Move.objects.get(pk=move.pk)))
            if is_terminal:
                on.write(f"\r\033[K{text}", ending="")
            elif text != told:
                on.write(text)
            told = text
        if is_terminal and told:
            on.write("\r\033[K", ending="")
    finally:
        connections.close_all()
