"""Copies what happens in this process's turns to Valkey, where other processes follow (see mirror.py).

One stream for each turn, its entries named ``<attempt>-<number of its last event>``: Valkey refuses what is not newer,
so an owner that was deposed cannot write. One flusher for the process writes in batches, and seldom what nobody hears;
a fault of the store never reaches a turn, for memory and Postgres hold it all. Text is sealed. Source: notes on
realtime, section 4.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import redis

from agents import wire
from agents.turns.log import Log
from platform_site import ending
from tenants import crypto, store
from tenants.context import TenantRef, acting_for
from tenants.keys import redis_key

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.05
UNHEARD_SECONDS = 0.25  # where no other process listens: it finds the stream so old when it comes, or when we have died
TOGETHER_SECONDS = 0.1  # what is due so soon is written, too
AT_ONCE = 20  # events that do not wait for their time
RETRY_SECONDS = 0.5
LIFETIME_MS = 600_000  # from the last write
AFTER_END_MS = 60_000

# KEYS the turn's stream  ARGV attempt, number of the last event, sealed events, lifetime ms, "1" if these are the first
# gives how many processes heard it; "gone": write all again; or the id of what is there and newer
WRITE = """
if ARGV[5] == '0' and redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
local id = ARGV[1] .. '-' .. ARGV[2]
if redis.pcall('XADD', KEYS[1], id, 'e', ARGV[3]).err then
  return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[3])
"""


@dataclass
class Source:
    """A turn of this process and how far its stream has come. ``deposed``: called when another owner has begun."""

    tenant: TenantRef
    log: Log
    deposed: Callable[[], None]
    written: int = 0  # the number of the last event that is there
    is_heard: bool = False

    def due(self) -> float:
        """When its news are to be written, on the loop's clock."""
        log = self.log
        if len(log.events) - self.written >= AT_ONCE or log.is_over and (self.is_heard or log.ended is None):
            return 0  # also what is left to another owner
        is_heard = self.is_heard or ending.has_begun()  # then it soon will be
        return asyncio.get_running_loop().time() + (FLUSH_SECONDS if is_heard else UNHEARD_SECONDS)


_sources: dict[Log, Source] = {}
_due: dict[Log, float] = {}  # when the news of a log are to be written
_flusher: asyncio.Task | None = None
_sooner = asyncio.Event()  # something is due before _wakes
_wakes = 0.0  # when the flusher looks again


def key_of(turn) -> str:
    """The stream of a turn of the current tenant, and the channel that tells of it."""
    return redis_key("turn", turn)


def place(turn, entry: str) -> str:
    """Where a batch of events is bound to by its seal."""
    return f"turn stream|{turn}|{entry}"


def begin() -> None:
    """Start the flusher on this loop."""
    global _flusher, _sooner
    _sooner = asyncio.Event()
    _flusher = asyncio.create_task(_keep(), name="turn streams")


async def end() -> None:
    """Write what is left, and stop."""
    global _flusher
    if _flusher is None:
        return
    _flusher.cancel()
    _flusher = None
    try:
        await _flush(list(_due))
    except redis.RedisError as error:
        logger.warning("turn streams not written", extra={"error": type(error).__name__})


def publish(tenant: TenantRef, log: Log, deposed: Callable[[], None]) -> None:
    """Copy this turn from now on, until its log is over. Does nothing on a loop without a flusher."""
    if _flusher is not None and _flusher.get_loop() is asyncio.get_running_loop():
        _sources[log] = Source(tenant, log, deposed)
        log.noted = _note


def _note(log: Log) -> None:
    source = _sources.get(log)
    if source is None:
        return
    due = min(_due.get(log, math.inf), source.due())
    _due[log] = due
    if due < _wakes:
        _sooner.set()


async def _keep() -> None:
    loop = asyncio.get_running_loop()
    while True:
        await _wait()
        try:
            await _flush([log for log, due in _due.items() if due < loop.time() + TOGETHER_SECONDS])
        except redis.RedisError as error:
            logger.warning("turn streams not written", extra={"error": type(error).__name__})
        except Exception:  # the outermost frame of a task that must outlive any fault
            logger.exception("turn streams not written")
        else:
            continue
        await asyncio.sleep(RETRY_SECONDS)  # all is still due: without a pause, the loop would never run again


async def _wait() -> None:
    """Until something is due."""
    global _wakes
    loop = asyncio.get_running_loop()
    while (due := min(_due.values(), default=math.inf)) > loop.time():
        _wakes = due
        _sooner.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(None if due == math.inf else due):
                await _sooner.wait()
    _wakes = 0  # what comes while it writes is seen afterwards


async def _flush(logs: list[Log]) -> None:
    """One round trip for all turns with news. Raises redis.RedisError; then all are written the next time."""
    batch = [_sources[log] for log in logs if log in _sources]
    parts = _parts(batch)
    if parts:
        await _write(parts)
    for source in batch:
        _go_on(source)


def _parts(batch: list[Source]) -> list[tuple]:
    """What is to be written of each. A turn that cannot be sealed is told of by its own process and Postgres only."""
    parts = []
    for source in batch:
        try:
            if _has_news(source):
                parts.append((source, *_part(source)))
        except Exception as error:  # noqa: BLE001  a text, or a tenant's key: neither may silence other tenants
            facts = {"turn": str(source.log.turn), "error": type(error).__name__}
            logger.error("turn not written to its stream", extra=facts)  # noqa: TRY400  the fault may quote the text
            _forget(source.log)
    return parts


async def _write(parts: list[tuple]) -> None:
    async with store.aclient().pipeline(transaction=False) as pipeline:
        for source, number, body in parts:
            _queue(pipeline, source, number, body)
        answers = await pipeline.execute(raise_on_error=False)
    for (source, number, _), answer in zip(parts, answers, strict=True):
        _take(source, number, answer)


def _go_on(source: Source) -> None:
    """After a write: what came meanwhile, or was not taken, is written the next time."""
    log = source.log
    _due.pop(log, None)
    if log.is_over and (log.ended is None or not _has_news(source)):
        _forget(log)
    elif log in _sources and _has_news(source):
        _due[log] = source.due()


def _has_news(source: Source) -> bool:
    return source.written < source.log.last_number  # the turn may have gone on, and ended, during the last write


def _part(source: Source) -> tuple[int, bytes]:
    """(Number of the last event, the sealed events that are not written yet)."""
    log = source.log
    number = log.last_number
    events = [*log.events[source.written :], *([log.ended] if log.ended else [])]
    with acting_for(source.tenant):
        body = crypto.seal(wire.as_json(events), bound_to=place(log.turn, f"{log.attempt}-{number}"))
    return number, body


def _queue(pipeline, source: Source, number: int, body: bytes) -> None:
    with acting_for(source.tenant):
        key = key_of(source.log.turn)
    lifetime = AFTER_END_MS if source.log.ended else LIFETIME_MS
    pipeline.eval(WRITE, 1, key, source.log.attempt, number, body, lifetime, int(source.written == 0))


def _take(source: Source, number: int, answer) -> None:
    """What the store said to a write. Raises redis.RedisError."""
    if isinstance(answer, redis.RedisError):
        raise answer
    if isinstance(answer, int):
        source.written, source.is_heard = number, answer > 0
    elif answer == b"gone":
        source.written = 0
    else:
        _meet(source, answer.decode())


def _meet(source: Source, entry: str) -> None:
    """Something newer stands there: another owner's, or our own, whose acknowledgement was lost."""
    attempt, number = map(int, entry.split("-"))
    if attempt == source.log.attempt:
        source.written = number
        return
    logger.info("turn deposed", extra={"turn": str(source.log.turn), "attempt": source.log.attempt})
    _forget(source.log)
    source.deposed()


def _forget(log: Log) -> None:
    _sources.pop(log, None)
    _due.pop(log, None)
