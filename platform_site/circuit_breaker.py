"""A circuit breaker: spares callers the wait for a service that answered nobody lately, for each would hold a thread.

Source: M. Nygard, Release It!, chapter 5.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CircuitBreaker:
    """What is known of one service. Threads share it.

    open_seconds  during which nobody asks; then one caller at a time finds out whether it answers
    failures      one after the other, with no answer to anybody since they began, after which it opens
    """

    def __init__(self, open_seconds: float, *, failures: int = 1):
        self._open_seconds, self._failures = open_seconds, failures
        self._failed = 0
        self._answered_at = -math.inf
        self._until: float | None = None  # while it is open
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the service is not to be asked at the moment."""
        until = self._until
        return until is not None and time.monotonic() < until

    @contextmanager
    def asking(self, refusal: Callable[[], Exception], *, is_failure: Callable[[Exception], bool]) -> Iterator[None]:
        """Inside, the service is asked. A caller who is cancelled before the end has learned nothing.

        refusal     makes what is raised instead while the breaker is open
        is_failure  whether what was raised inside means that it does not answer; a refusal is an answer
        """
        if not self._may_ask():
            raise refusal()
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            if is_failure(error):
                self._note_failure(began)
            else:
                self._note_answer()
            raise
        self._note_answer()

    def _may_ask(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._until is None:
                return True
            if now < self._until:
                return False
            self._until = now + self._open_seconds  # the others wait for what this one finds out
            return True

    def _note_answer(self) -> None:
        with self._lock:
            self._failed, self._until, self._answered_at = 0, None, time.monotonic()

    def _note_failure(self, began: float) -> None:
        with self._lock:
            if self._answered_at > began:  # it answers others: only this was too much for it
                return
            self._failed += 1
            if self._failed >= self._failures:
                self._until = time.monotonic() + self._open_seconds
