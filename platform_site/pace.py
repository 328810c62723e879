"""How often something may happen, where one process can tell by itself."""

import time
from collections import deque


class Pace:
    """At most ``most`` times within any ``seconds``."""

    def __init__(self, most: int, seconds: float):
        self.most, self.seconds = most, seconds
        self._taken: deque[float] = deque()  # when, by the monotonic clock; never longer than most

    @property
    def left(self) -> int:
        """How often more it may happen, as of the last ``take``."""
        return max(0, self.most - len(self._taken))

    def take(self) -> float:
        """0 if it may happen now, and it is counted; else the seconds after which it may, and it is not."""
        now = time.monotonic()
        while self._taken and self._taken[0] <= now - self.seconds:
            self._taken.popleft()
        if len(self._taken) < self.most:
            self._taken.append(now)
            return 0.0
        return self._taken[0] + self.seconds - now
