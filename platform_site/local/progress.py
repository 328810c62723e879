"""What the person at the terminal sees."""

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str = "") -> None:
    """One line to the terminal. A terminal that went away stops nobody."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class Steps:
    """Numbered progress lines with the seconds each step took."""

    def __init__(self, total: int, *, done: int = 0):
        """done  steps that ran before this program"""
        self.total, self.number = total, done

    @contextmanager
    def step(self, doing: str) -> "Iterator[Step]":
        """One step; it prints its line when it ends well. Set ``text`` for a better line than ``doing``."""
        self.number += 1
        step, began = Step(doing), time.monotonic()
        self._show(f"[{self.number}/{self.total}] {doing} ...")
        try:
            yield step
        except BaseException:
            self._show("")
            raise
        self._show("")
        say(f"[{self.number}/{self.total}] {step.text:<44} {time.monotonic() - began:6.1f} s")

    def _show(self, text: str) -> None:
        """Text that the next output overwrites; only on a terminal."""
        if sys.stdout.isatty():
            with contextlib.suppress(OSError):
                sys.stdout.write(f"\r\033[K{text}")
                sys.stdout.flush()


class Step:
    """The line that a step will print when it ends well."""

    def __init__(self, text: str):
        self.text = text
