"""What has happened in a running turn: a list in the owner's process. A socket is a cursor on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from agents import wire

Event = (
    wire.Waiting
    | wire.Delta
    | wire.ToolStarted
    | wire.ToolFinished
    | wire.Citations
    | wire.Limited
    | wire.Error
    | wire.MessageEvent
)


class Log:
    """Events of one attempt, numbered from 1. One loop appends and reads, so there is no lock.

    ended  the last event, once the turn is stored; None as the end of a turn that somebody else finished
    noted  called after each change
    """

    def __init__(self, turn: UUID, attempt: int):
        self.turn, self.attempt = turn, attempt
        self.events: list[Event] = []
        self.ended: wire.TurnFinished | None = None
        self.is_over = False
        self.noted: Callable[[Log], None] | None = None
        self._news = asyncio.Event()

    @property
    def last_number(self) -> int:
        """Of the last event; the end counts as one more."""
        return len(self.events) + (self.ended is not None)

    def append(self, make, **fields) -> None:
        """Add ``make(turn=…, attempt=…, n=…, **fields)``."""
        self.events.append(make(turn=self.turn, attempt=self.attempt, n=len(self.events) + 1, **fields))
        self._tell()

    def add(self, event: Event) -> None:
        """Add an event that carries no number."""
        self.events.append(event)
        self._tell()

    def end(self, event: wire.TurnFinished | None) -> None:
        """Nothing comes after this."""
        self.ended, self.is_over = event, True
        self._tell()

    def _tell(self) -> None:
        self._news.set()  # wakes all who wait now
        self._news.clear()
        if self.noted:
            self.noted(self)

    def extend(self, events: list, *, number: int) -> bool:
        """Add a batch that was written elsewhere and whose last event has this number; what is known is left out.

        Returns  whether nothing is missing before it
        """
        first = number - len(events)
        if first > len(self.events):
            return False
        fresh = events[len(self.events) - first :]
        if fresh and isinstance(fresh[-1], wire.TurnFinished):
            self.events += fresh[:-1]
            self.end(fresh[-1])
        elif fresh:
            self.events += fresh
            self._tell()
        return True

    async def follow(self, after: int = 0) -> AsyncIterator[list]:
        """All events after number ``after`` as they come, as many at once as there are; ends with the turn."""
        seen = after
        while True:
            batch = self.events[seen:]
            seen += len(batch)
            if self.is_over:
                yield _merged(batch) + ([self.ended] if self.ended else [])
                return
            if batch:
                yield _merged(batch)
            else:
                await self._news.wait()  # nothing was awaited since the look: nothing is missed


def _merged(events: list[Event]) -> list[Event]:
    """Neighbouring deltas as one, with the number of the last: a slow socket gets fewer, larger frames."""
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, wire.Delta) and isinstance(last, wire.Delta):
            merged[-1] = event.model_copy(update={"text": last.text + event.text})
        else:
            merged.append(event)
    return merged
