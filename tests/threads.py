"""Threads of tests: what they borrow from the connection pools goes back, or later tests of the process find none."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connections


def in_thread(work: Callable, *args: Any, **named: Any) -> Any:
    """What the work returns or raises; this thread then holds no connection."""
    try:
        return work(*args, **named)
    finally:
        connections.close_all()


class Threads(ThreadPoolExecutor):
    """``with Threads(4) as threads: threads.map(work, range(4))``: each piece of work gives its connections back."""

    def submit(self, work: Callable, /, *args: Any, **named: Any) -> Future:
        """As the base class does."""
        return super().submit(in_thread, work, *args, **named)
