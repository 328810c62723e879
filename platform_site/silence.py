"""Spares callers the wait for a service that has answered nobody lately: each would hold a thread for as long."""

import threading
import time


class Silence:
    """What is known of one service. Threads share it.

    seconds  after a wait in vain, for which nobody asks; then one caller at a time finds out whether it is over
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._until: float | None = None  # while it lasts
        self._lock = threading.Lock()

    def may_ask(self) -> bool:
        """Whether to ask the service now; whoever does tells by ``note`` what came of it."""
        with self._lock:
            now = time.monotonic()
            if self._until is None:
                return True
            if now < self._until:
                return False
            self._until = now + self._seconds  # the others wait for what this one finds out
            return True

    def note(self, *, answered: bool) -> None:
        """A caller was answered, be it by a refusal, or waited in vain."""
        with self._lock:
            self._until = None if answered else time.monotonic() + self._seconds
