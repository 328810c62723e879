"""Reads a provider's streamed answer: the new text of each read, everything else goes into an Answer.

The answers of OpenAI-compatible providers are read from the body by ourselves: that costs a tenth of the processor
time, and shows whether an answer really ended. Every other provider, and a litellm whose insides have changed, goes
through litellm's own iterator.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import contextmanager, suppress

from agents.answer import Answer, EndMarks, EventSplitter
from platform_site import ending

OPENAI_SHAPED = {"openai", "azure"}  # litellm talks to these through OpenAI's client
DRAIN_SECONDS = 0.2
# Between two reads of an answer: shorter than what the eye tells apart, and longer while many answers are read
GLANCE_SECONDS, GLANCE_SECONDS_MORE, GLANCE_SECONDS_MOST = 0.04, 0.004, 0.2
BEAT_SECONDS = 0.04  # many answers are read on one beat: what one read brings into the processor's caches serves all

_reading = 0  # answers that are being read


def raw_body(response):
    """What gives the bytes under litellm's stream, if they are OpenAI's events and litellm still lets us at them.

    response  litellm's stream, or the body that it would read
    """
    if response.custom_llm_provider not in OPENAI_SHAPED:
        return None
    raw = getattr(response.completion_stream, "response", None)
    return raw if hasattr(raw, "aiter_bytes") else None


async def from_body(raw, answer: Answer) -> AsyncIterator[str]:
    """The new text of each read: events that arrived together make one text.

    After the first words there is one read for each glance of an eye: every read costs a frame to each socket.
    """
    splitter = EventSplitter()
    with _counted():
        async for data in raw.aiter_bytes():
            yield answer.take_events(splitter.feed(data))
            if answer.begun and not answer.ended:
                with _unread(raw):
                    await asyncio.sleep(_glance())


def _glance() -> float:
    """Seconds until the next read, which is on the nearest beat.

    Before the process ends, short: readers change over to others, and wait for text.
    """
    more = 0 if ending.has_begun() else _reading * GLANCE_SECONDS_MORE
    now = asyncio.get_running_loop().time()
    wanted = now + min(GLANCE_SECONDS + more, GLANCE_SECONDS_MOST)
    return round(wanted / BEAT_SECONDS) * BEAT_SECONDS - now


@contextmanager
def _unread(raw):
    """What arrives inside waits in the kernel and comes in one piece afterwards: aiohttp takes in each packet.

    Only our own client's body can wait, not that of the SDK's (azure).
    """
    resume = raw.pause() if hasattr(raw, "pause") else None
    try:
        yield
    finally:
        if resume:
            resume()


@contextmanager
def _counted():
    global _reading
    _reading += 1
    try:
        yield
    finally:
        _reading -= 1


async def from_chunks(response, answer: Answer) -> AsyncIterator[str]:
    """The new text of each chunk that litellm makes of a provider's answer."""
    marks = EndMarks()
    if response.completion_stream is None:
        await response.fetch_stream()
    response.completion_stream = marks.watched(response.completion_stream)
    async for chunk in response:
        payload = json.dumps(chunk.model_dump(exclude_none=True)).encode()  # no half characters
        yield answer.take_events([payload])
    answer.ended = marks.finished or marks.opaque
    if not marks.opaque:
        answer.reported = marks.usage and (answer.reported or marks.usage)


async def drain(texts: AsyncIterator[str]) -> None:
    """Read the last bytes of a finished answer, so that its connection can serve the next one."""
    with suppress(Exception):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in texts:
                pass
