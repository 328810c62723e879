"""Follows turns that run in another process, by their streams in Valkey (see stream.py).

Each followed turn has one mirror in the process, whatever the number of sockets. Messages may be lost: a mirror that
is quiet for a second reads the stream, and for two asks Postgres, which knows how every turn ended.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import redis

from agents import wire
from agents.turns import radio, stream
from agents.turns.log import Log
from tenants import crypto, store
from tenants.context import TenantRef, acting_for

logger = logging.getLogger(__name__)

QUIET_SECONDS = 1.0
ASK_EVERY = 2  # quiet seconds

Ending = Callable[[], Awaitable[wire.TurnFinished | None]]


class Mirror:
    """A turn of another process as far as it is known here. Each attempt has a log of its own; the newest counts."""

    def __init__(self, tenant: TenantRef, turn: UUID, ending: Ending):
        self.tenant, self.turn = tenant, turn
        self.log = Log(turn, 0)
        self.followers = 0
        self._ending = ending
        self._heard = asyncio.Event()
        self._has_gap = False
        self._spoilt = 0  # the attempt of which an entry did not open: its end is told by Postgres
        with acting_for(tenant):
            self._channel = stream.key_of(turn)
        self._keeper = asyncio.create_task(self._keep(), name=f"mirror {turn}")

    async def follow(self, attempt: int, after: int) -> AsyncIterator[list]:
        """Lists of events from there on; a later attempt begins anew. Ends when the turn has ended or is closed."""
        while True:
            log = self.log
            async for events in log.follow(after if log.attempt == attempt else 0):
                if events:
                    yield events
            if log is self.log:
                return

    async def close(self) -> None:
        """Follow no more; whoever still does is sent away."""
        self._keeper.cancel()
        if not self.log.is_over:
            self.log.end(None)
        await radio.tune_out(self._channel, self._hear)

    async def _keep(self) -> None:
        try:
            await radio.tune_in(self._channel, self._hear)
            await self._catch_up()
            await self._watch()
        except Exception:  # the outermost frame of a task nobody awaits
            logger.exception("mirror failed", extra={"turn": str(self.turn)})
            self.log.end(None)

    async def _watch(self) -> None:
        quiet = 0
        while not self.log.is_over:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._heard.wait()
                quiet = 0
            except TimeoutError:
                quiet += 1
            self._heard.clear()
            if quiet or self._has_gap:
                await self._catch_up()
            if quiet and quiet % ASK_EVERY == 0 and not self.log.is_over and (ended := await self._ending()):
                self._take_end(ended)

    def _hear(self, data: bytes) -> None:
        entry, _, body = data.partition(b" ")
        self._take(entry.decode(), body)
        self._heard.set()

    async def _catch_up(self) -> None:
        """Read what the stream holds beyond what is known."""
        self._has_gap = False
        start = f"({self.log.attempt}-{self.log.last_number}" if self.log.attempt else "-"
        try:
            entries = await store.aclient().xrange(self._channel, min=start)
        except redis.RedisError as error:
            logger.warning("turn stream not read", extra={"turn": str(self.turn), "error": type(error).__name__})
            return
        for entry, fields in entries:
            self._take(entry.decode(), fields[b"e"])

    def _take(self, entry: str, body: bytes) -> None:
        attempt, number = map(int, entry.split("-"))
        if attempt < self.log.attempt or attempt == self._spoilt or self.log.is_over:
            return
        events = _unsealed(self.tenant, self.turn, entry, body)
        if events is None:
            self._spoilt = attempt
            return
        if attempt > self.log.attempt:
            self._begin(attempt)
        self._has_gap = not self.log.extend(events, number=number) or self._has_gap

    def _begin(self, attempt: int) -> None:
        old, self.log = self.log, Log(self.turn, attempt)
        old.end(None)

    def _take_end(self, ended: wire.TurnFinished) -> None:
        if ended.attempt > self.log.attempt:
            self._begin(ended.attempt)
        self.log.end(ended)


_mirrors: dict[tuple[int, UUID], Mirror] = {}


async def follow(tenant: TenantRef, cursor: wire.Cursor, ending: Ending) -> AsyncIterator[list]:
    """Lists of events of a turn elsewhere after the cursor, until it has ended.

    ending  asks Postgres how the turn ended; None while it runs
    """
    key = (tenant.id, cursor.turn)
    mirror = _mirrors.get(key)
    if mirror is None or mirror.log.is_over:
        mirror = _mirrors[key] = Mirror(tenant, cursor.turn, ending)
    mirror.followers += 1
    try:
        async for events in mirror.follow(cursor.attempt, cursor.n):
            yield events
    finally:
        mirror.followers -= 1
        if not mirror.followers:
            if _mirrors.get(key) is mirror:
                del _mirrors[key]
            await mirror.close()


def _unsealed(tenant: TenantRef, turn: UUID, entry: str, body: bytes) -> list | None:
    """The events of a stream's entry; None if it does not open."""
    try:
        with acting_for(tenant):
            return wire.EVENTS.validate_json(crypto.unseal(body, bound_to=stream.place(turn, entry)))
    except crypto.Unreadable as error:  # its words say all; a traceback for each entry would not say more
        logger.error("turn stream not read", extra={"turn": str(turn), "error": str(error)})  # noqa: TRY400
        return None


def text_of(events: list) -> str:
    """What the deltas add up to."""
    return "".join(event.text for event in events if isinstance(event, wire.Delta))


async def said(tenant: TenantRef, turn: UUID, attempt: int) -> str:
    """What an attempt whose owner is gone had said, as far as it was written; nothing while the store is away."""
    with acting_for(tenant):
        key = stream.key_of(turn)
    try:
        entries = await store.aclient().xrange(key, min=f"{attempt}-0", max=f"{attempt}-{2**63 - 1}")
    except redis.RedisError as error:
        logger.warning("turn stream not read", extra={"turn": str(turn), "error": type(error).__name__})
        return ""
    log = Log(turn, attempt)
    for entry, fields in entries:
        events = _unsealed(tenant, turn, entry.decode(), fields[b"e"])
        if events is None:
            break
        log.extend(events, number=int(entry.decode().split("-")[1]))
    return text_of(log.events)
