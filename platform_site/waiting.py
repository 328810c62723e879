"""What thousands of sockets wait at. asyncio's own are made for many readers: an empty queue takes 3 KB, an event 1."""

import asyncio
from typing import Any


class Mailbox:
    """A queue with one reader. The surface of ``asyncio.Queue`` that uvicorn and the channel layer use."""

    __slots__ = ("_items", "_arrival")

    def __init__(self):
        self._items: list = []  # a few at most: a socket is read no further while they wait
        self._arrival: asyncio.Future | None = None  # what the reader waits for

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)

    def put_nowait(self, item: Any) -> None:
        self._items.append(item)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def get_nowait(self) -> Any:
        """The oldest. Raises asyncio.QueueEmpty"""
        if not self._items:
            raise asyncio.QueueEmpty
        return self._items.pop(0)

    async def get(self) -> Any:
        """The oldest, once there is one. A reader that is cancelled takes none. Raises RuntimeError: somebody reads."""
        if self._arrival is not None:
            raise RuntimeError("a mailbox has one reader")
        while not self._items:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self._items.pop(0)


class Gate:
    """Open at first; who comes while it is shut waits. The surface of ``asyncio.Event`` that uvicorn uses."""

    __slots__ = ("_opening",)

    def __init__(self):
        self._opening: asyncio.Future | None = None  # while it is shut

    def is_set(self) -> bool:
        return self._opening is None

    def clear(self) -> None:
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_future()

    def set(self) -> None:
        if self._opening is not None:
            self._opening.set_result(None)
            self._opening = None

    async def wait(self) -> None:
        if self._opening is not None:
            await asyncio.shield(self._opening)  # many may wait; one of them being cancelled must not end it for all
