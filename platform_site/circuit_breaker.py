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

    open_seconds  during which nobody asks; then one caller at a time finds out whether it answers, and another joins
                  one who takes longer than that
    failures      one after the other, with no answer to anybody since they began, after which it opens
    now           seconds of a clock that never goes back
    """

    def __init__(self, open_seconds: float, *, failures: int = 1, now: Callable[[], float] = time.monotonic):
        self._open_seconds, self._failures, self._now = open_seconds, failures, now
        self._failed = 0
        self._answered_at = -math.inf
        self._until: float | None = None  # while it is open
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the service is not to be asked at the moment."""
        return self.seconds_left > 0

    @property
    def seconds_left(self) -> float:
        """For which it is not to be asked; 0 or less: it may be."""
        until = self._until
        return until - self._now() if until is not None else 0.0

    @property
    def is_closed(self) -> bool:
        """Whether anybody may ask it: it has not opened, or has been answered since."""
        return self._until is None

    @contextmanager
    def noting_failures(self, *, is_failure: Callable[[Exception], bool]) -> Iterator[None]:
        """Inside, the service is asked, but answered so late that only a failure counts: an answer says nothing of now.

        is_failure  whether what was raised inside means that the service does not answer
        """
        began = self._now()
        try:
            yield
        except Exception as error:
            if is_failure(error):
                self._note(True, began, False)
            raise

    @contextmanager
    def asking(
        self, refusal: Callable[[], Exception], *, is_failure: Callable[[Exception], bool | None]
    ) -> Iterator[None]:
        """Inside, the service is asked. A caller who is cancelled before the end has learned nothing.

        refusal     makes what is raised instead while the breaker is open
        is_failure  whether what was raised inside means that the service does not answer; a refusal is an answer;
                    None: it was not asked
        """
        is_probe = self._enter(refusal)
        began = self._now()
        try:
            yield
        except BaseException as error:
            failed = is_failure(error) if isinstance(error, Exception) else None
            self._note(failed, began, is_probe)
            raise
        self._note(False, began, is_probe)

    def _enter(self, refusal: Callable[[], Exception]) -> bool:
        """Whether this caller is the one who finds out."""
        with self._lock:
            now = self._now()
            if self._until is None:
                return False
            if now < self._until:
                raise refusal()
            self._until = now + self._open_seconds  # the others wait for what this one finds out
            return True

    def _note(self, failed: bool | None, began: float, is_probe: bool) -> None:
        with self._lock:
            if failed is None:
                if is_probe:
                    self._until = self._now()  # for the next to find out
            elif not failed:
                self._failed, self._until, self._answered_at = 0, None, self._now()
            elif self._answered_at <= began:  # else it answers others: only this was too much for it
                self._failed += 1
                if self._failed >= self._failures:
                    self._until = self._now() + self._open_seconds
