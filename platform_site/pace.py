"""How often something may happen, where one process can tell by itself."""

import time
from bisect import bisect


class Pace:
    """At most ``most`` times within any ``seconds``."""

    __slots__ = ("most", "seconds", "_taken")

    def __init__(self, most: int, seconds: float):
        self.most, self.seconds = most, seconds
        self._taken: list[float] = []  # when, by the monotonic clock; never longer than most. An empty deque is 0.8 KB

    @property
    def left(self) -> int:
        """How often more it may happen, as of the last ``take``."""
        return max(0, self.most - len(self._taken))

    def wait(self) -> float:
        """Seconds after which it may happen, 0: now. Nothing is counted."""
        now = time.monotonic()
        del self._taken[: bisect(self._taken, now - self.seconds)]
        return 0.0 if len(self._taken) < self.most else self._taken[0] + self.seconds - now

    def take(self) -> float:
        """0 if it may happen now, and it is counted; else the seconds after which it may, and it is not."""
        wait = self.wait()
        if not wait:
            self._taken.append(time.monotonic())
        return wait
