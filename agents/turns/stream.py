"""Copies what happens in this process's turns to Valkey, where other processes follow (see mirror.py).

One stream for each turn, its entries named ``<attempt>-<number of its last event>``: Valkey refuses what is not newer,
so an owner that was deposed cannot write. One flusher for the process writes in batches; a fault of the store never
reaches a turn, for memory and Postgres hold it all. Text is sealed. Source: notes on realtime, section 4.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import redis

from agents import wire
from agents.turns.log import Log
from tenants import crypto, store
from tenants.context import TenantRef, acting_for
from tenants.keys import redis_key

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.05
AT_ONCE = 20  # events that do not wait for the flusher's next round
RETRY_SECONDS = 0.5
LIFETIME_MS = 600_000  # from the last write
AFTER_END_MS = 60_000

# KEYS the turn's stream  ARGV attempt, number of the last event, sealed events, lifetime ms, "1" if these are the first
# gives "ok"; "gone": write all again; or the id of what is there and newer
WRITE = """
if ARGV[5] == '0' and redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
local id = ARGV[1] .. '-' .. ARGV[2]
if redis.pcall('XADD', KEYS[1], id, 'e', ARGV[3]).err then
  return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[3])
return 'ok'
"""


@dataclass
class Source:
    """A turn of this process and how far its stream has come. ``deposed``: called when another owner has begun."""

    tenant: TenantRef
    log: Log
    deposed: Callable[[], None]
    written: int = 0  # the number of the last event that is there


_sources: dict[Log, Source] = {}
_dirty: set[Log] = set()
_flusher: asyncio.Task | None = None
_news = asyncio.Event()
_urgent = asyncio.Event()


def key_of(turn) -> str:
    """The stream of a turn of the current tenant, and the channel that tells of it."""
    return redis_key("turn", turn)


def place(turn, entry: str) -> str:
    """Where a batch of events is bound to by its seal."""
    return f"turn stream|{turn}|{entry}"


def begin() -> None:
    """Start the flusher on this loop."""
    global _flusher, _news, _urgent
    _news, _urgent = asyncio.Event(), asyncio.Event()
    _flusher = asyncio.create_task(_keep(), name="turn streams")


async def end() -> None:
    """Write what is left, and stop."""
    global _flusher
    if _flusher is None:
        return
    _flusher.cancel()
    _flusher = None
    try:
        await _flush()
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
    _dirty.add(log)
    _news.set()
    if log.is_over or len(log.events) - source.written >= AT_ONCE:
        _urgent.set()


async def _keep() -> None:
    while True:
        await _news.wait()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await _urgent.wait()
        except TimeoutError:
            pass
        _news.clear()
        _urgent.clear()
        try:
            await _flush()
        except redis.RedisError as error:
            logger.warning("turn streams not written", extra={"error": type(error).__name__})
            await asyncio.sleep(RETRY_SECONDS)
            _news.set()
        except Exception:  # the outermost frame of a task that must outlive any fault
            logger.exception("turn streams not written")


async def _flush() -> None:
    """One round trip for all turns with news. Raises redis.RedisError; then all are written the next time."""
    batch = [_sources[log] for log in _dirty if log in _sources]
    parts = [(source, *_part(source)) for source in batch if _has_news(source)]
    if parts:
        async with store.aclient().pipeline(transaction=False) as pipeline:
            for source, number, body in parts:
                _queue(pipeline, source, number, body)
            answers = await pipeline.execute(raise_on_error=False)
        for (source, number, _), answer in zip(parts, answers, strict=True):
            _take(source, number, answer)
    for source in batch:
        if source.log.is_over and (source.log.ended is None or not _has_news(source)):
            _forget(source.log)
        elif not _has_news(source):
            _dirty.discard(source.log)
    if _dirty:  # of what was gone, or came meanwhile
        _news.set()


def _has_news(source: Source) -> bool:
    return source.written < source.log.last_number  # the turn may have gone on, and ended, during the last write


def _part(source: Source) -> tuple[int, bytes]:
    """(Number of the last event, the sealed events that are not written yet)."""
    log = source.log
    number = log.last_number
    events = [*log.events[source.written :], *([log.ended] if log.ended else [])]
    with acting_for(source.tenant):
        body = crypto.seal(wire.EVENTS.dump_json(events), bound_to=place(log.turn, f"{log.attempt}-{number}"))
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
    if answer == b"ok":
        source.written = number
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
    _dirty.discard(log)
