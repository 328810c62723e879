"""Spares callers the wait for a service that has answered nobody lately: each would hold a thread for as long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Silence:
    """What is known of one service. Threads share it.

    seconds  after a wait in vain, for which nobody asks; then one caller at a time finds out whether it is over
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._until: float | None = None  # while it lasts
        self._lock = threading.Lock()

    @contextmanager
    def asking(self, refusal: Callable[[], Exception], *, was_in_vain: Callable[[Exception], bool]) -> Iterator[None]:
        """Inside, the service is asked. Whoever gives up earlier than the service's client has learned nothing.

        refusal      makes what is raised instead while the service is silent
        was_in_vain  whether what was raised inside means that no answer came in time
        """
        if not self._may_ask():
            raise refusal()
        try:
            yield
        except Exception as error:
            self._note(answered=not was_in_vain(error))
            raise
        self._note(answered=True)

    def _may_ask(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._until is None:
                return True
            if now < self._until:
                return False
            self._until = now + self._seconds  # the others wait for what this one finds out
            return True

    def _note(self, *, answered: bool) -> None:
        with self._lock:
            self._until = None if answered else time.monotonic() + self._seconds
