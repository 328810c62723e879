"""How far a move has come, as an operator sees it. Computed from its row alone, so any door may ask at any time."""

from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from tenants.models import Move

State = Move.State
ORDER = (State.PLANNED, State.PREPARING, State.COPYING, State.FROZEN, State.VERIFYING, State.SWITCHED, State.RETAINED,
         State.DONE)  # fmt: skip
NAMES = {
    State.PLANNED: "Planned",
    State.PREPARING: "Preparing the new place",
    State.COPYING: "Copying while the tenant works",
    State.FROZEN: "Copying the last changes; writes wait",
    State.VERIFYING: "Comparing both copies; writes wait",
    State.SWITCHED: "Switched to the new place",
    State.RETAINED: "The old copy is kept for a day",
    State.DONE: "Done; the old copy is gone",
}
LOCKED_NAMES = NAMES | {
    State.COPYING: "Nothing is copied ahead",
    State.FROZEN: "Copying; writes wait",
}
STOPPED = (State.FAILED, State.ROLLED_BACK)


class Step(NamedTuple):
    """One step of the way. state: ``done``, ``now``, ``next`` or ``failed``."""

    name: str
    state: str


class Facts(NamedTuple):
    """What an operator is shown. Of the numbers, ``of_rows`` and ``of_bytes`` are estimates until the copy is made.

    bytes             as they went over the line
    bytes_per_second  of the copying; None before it began
    seconds_left      until all rows are copied; None while that cannot be said
    percent           of the rows' bytes copied, 100 once the tenant lives at the new place
    frozen_seconds    how long writes waited; None before the switch
    notice            why writes wait for the whole copy, if they do and the tenant is large; else empty
    """

    steps: list[Step]
    rows: int
    of_rows: int
    bytes: int
    of_bytes: int
    bytes_per_second: float | None
    seconds_left: float | None
    percent: int
    frozen_seconds: float | None
    notice: str

    @property
    def at(self) -> Step:
        """The step where it is, or was when it ended."""
        return next(step for step in reversed(self.steps) if step.state != "next")


def facts(move: Move, now: datetime | None = None) -> Facts:
    """How far the move has come by ``now``."""
    kept = move.progress
    done, total = kept.get("bytes", 0), max(kept.get("of_bytes", 0), kept.get("bytes", 0))
    rate = _rate(kept, (now or timezone.now()).timestamp())
    is_copying = bool(kept.get("copy_began")) and not kept.get("copy_ended") and move.state in Move.UNDER_WAY
    return Facts(
        steps=_steps(move),
        rows=kept.get("rows", 0),
        of_rows=max(kept.get("of_rows", 0), kept.get("rows", 0)),
        bytes=done,
        of_bytes=total,
        bytes_per_second=rate,
        seconds_left=round((total - done) / rate, 1) if rate and is_copying else None,
        percent=_percent(move, done, total),
        frozen_seconds=kept.get("seconds", {}).get("frozen"),
        notice=kept.get("notice", ""),
    )


def _steps(move: Move) -> list[Step]:
    names = LOCKED_NAMES if move.progress.get("way") == "lock" else NAMES
    stopped = move.state in STOPPED
    at = ORDER.index(move.progress.get("reached", State.PLANNED) if stopped else move.state)
    here = "failed" if stopped else "done" if move.state == State.DONE else "now"
    states = ["done"] * at + [here] + ["next"] * (len(ORDER) - at - 1)
    return [Step(names[key], state) for key, state in zip(ORDER, states, strict=True)]


def _rate(kept: dict, now: float) -> float | None:
    began = kept.get("copy_began")
    seconds = (kept.get("copy_ended") or now) - began if began else 0
    return round(kept.get("bytes", 0) / seconds, 1) if seconds > 0 and kept.get("bytes") else None


def _percent(move: Move, done: int, total: int) -> int:
    if move.state in (State.SWITCHED, State.RETAINED, State.DONE):
        return 100
    return min(99, done * 100 // total) if total else 0
