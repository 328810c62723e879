"""The figures of a chat turn, counted, summed up and printed (see chat_turn.py)."""

import json
import re
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

from agents.turns import stream
from tests.load.wiretap import Asked

MOST_STATEMENTS, MOST_TRIPS, ADDED_MS = 6, 2, 8
CONNECTION = ("bind", "check", "reset")
# Redis commands that no answer waits for: they tell other sockets of the conversation, and other processes of answers
HINTS = ("PUBLISH", " ".join(f"EVAL {stream.WRITE}".split()))
ADDITIONS = 100_000


@dataclass
class Turn:
    """What one turn cost. Times in milliseconds."""

    is_first: bool  # of its conversation: more rows are made
    first_ms: float = 0.0
    cpu_first_ms: float = 0.0
    cpu_ms: float = 0.0
    asked: list[Asked] = field(default_factory=list)

    def count(self, service: str, kinds: tuple[str, ...]) -> int:
        """Requests of these kinds."""
        return sum(one.service == service and kind_of(one) in kinds for one in self.asked)

    def trips(self, service: str) -> int:
        """How often an answer of the service was waited for."""
        return sum(one.service == service and one.new_trip and kind_of(one) != "hint" for one in self.asked)


def kind_of(one: Asked) -> str:
    """What a request is for."""
    text = one.text.strip().lower()
    if one.service == "redis":
        return "hint" if " ".join(one.text.split()).startswith(HINTS) else "command"
    if not text:
        return "check"
    if re.match(r"begin|commit|rollback|savepoint|release", text):
        return "transaction"
    if text.startswith("select set_config("):
        return "bind"
    return "reset" if text.startswith(("discard", "reset")) else "statement"


def print_counts(turns: list[Turn]) -> bool:
    """Each figure as the median of later turns; whether they are within their limits."""
    later, first = [turn for turn in turns if not turn.is_first], [turn for turn in turns if turn.is_first]
    rows = [
        ("SQL statements", lambda turn: turn.count("postgres", ("statement",)), MOST_STATEMENTS),
        ("  BEGIN and COMMIT", lambda turn: turn.count("postgres", ("transaction",)), None),
        ("  bind, reset and check of connections", lambda turn: turn.count("postgres", CONNECTION), None),
        ("  round trips to Postgres in all", lambda turn: turn.trips("postgres"), None),
        ("Redis round trips", lambda turn: turn.trips("redis"), MOST_TRIPS),
        ("  hints to others, not waited for", lambda turn: turn.count("redis", ("hint",)), None),
        ("requests to the vector service", lambda turn: turn.trips("vectors"), None),
    ]
    print(f"{'up to the first token':<58}{'median':>8}{'most':>6}{'first turn':>12}{'target':>8}")
    within = True
    for name, of, most in rows:
        median = statistics.median_low([of(turn) for turn in later])
        within = within and (most is None or median <= most)
        of_first = statistics.median_low([of(turn) for turn in first])
        print(f"{name:<58}{median:>8}{max(map(of, later)):>6}{of_first:>12}{most or '':>8}")
    usual = Counter(tuple(texts(turn)) for turn in later).most_common(1)[0][0]
    print("\nmost often these:")
    for text in usual:
        print(f"  {text}")
    return within


def texts(turn: Turn) -> list[str]:
    """What was asked, in short, in order."""
    return [f"{one.service:<10}{kind_of(one):<13}{' '.join(one.text.split())[:84]}".rstrip() for one in turn.asked]


def loop_ms() -> float:
    """How long a fixed loop takes: how fast the machine is just now, whatever it is that slows it."""
    started, total = time.perf_counter(), 0
    for number in range(ADDITIONS):
        total += number
    return (time.perf_counter() - started) * 1000


def sleep_factor() -> float:
    """How many times the processor time of some work grows where the processor has slept for 100 ms before it.

    While a virtual machine sleeps, its caches are its neighbours'. One visitor's turn is hundreds of such moments: its
    figures of two runs can be compared only where this is the same.
    """
    return _work_ms(pause=0.1, times=20) / _work_ms(pause=0, times=200)


def _work_ms(*, pause: float, times: int) -> float:
    took = []
    for _ in range(times):
        time.sleep(pause)  # what is measured: nothing is waited for
        started = time.thread_time()
        json.loads(json.dumps([{"number": number, "name": str(number)} for number in range(50)]))
        took.append((time.thread_time() - started) * 1000)
    return statistics.median(took)


def print_times(turns: list[Turn], direct: list[float], plain: list[dict], loops: list[float]) -> None:
    """Every figure as median, 99th percentile and best."""
    base = statistics.median(direct)
    added = [turn.first_ms - base for turn in turns]
    added_plain = [one["first_ms"] - base for one in plain]
    print(f"{'milliseconds':<58}{'median':>8}{'p99':>8}{'best':>8}{'target':>8}")
    row("first token of the stand-in, called directly", direct)
    row("added by Atrium: storing, search, limits, delivery", added, ADDED_MS)
    row("added by the plain litellm SDK, which does none of these", added_plain)
    row("processor time of the web process up to the first token", [turn.cpu_first_ms for turn in turns])
    row("processor time of the web process, whole turn", [turn.cpu_ms for turn in turns])
    row("processor time of the plain SDK, whole answer", [one["cpu_ms"] for one in plain if one["whole"]])
    row(f"a loop of {ADDITIONS:,} additions, to compare machines by", loops)


def row(name: str, figures: list[float], target: float | None = None) -> None:
    p99 = statistics.quantiles(figures, n=100, method="inclusive")[98]
    print(f"{name:<58}{statistics.median(figures):>8.1f}{p99:>8.1f}{min(figures):>8.1f}{target or '':>8}")
