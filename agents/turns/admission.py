"""Which turn may start next in this process, so that a flood of one tenant's leaves room for the others'.

At most settings.TURN_CAP turns run at once, and a quarter of them of one tenant; a place that gets free goes round
between the tenants that wait. One loop takes and gives, so there is no lock. Source: notes on realtime, section 6.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from django.conf import settings

TELL_SECONDS = 1.0
RETRY_SECONDS = 5

_running: Counter[int] = Counter()  # places taken, by tenant id
_waiting: dict[int, deque[asyncio.Future]] = {}  # by tenant id; whose turn it is comes first


def share() -> int:
    """How many turns of one tenant may run, and as many again wait."""
    return max(1, settings.TURN_CAP // 4)


def has_room(tenant_id: int) -> bool:
    """Whether a turn of this tenant may start now; then none of them waits."""
    return _running.total() < settings.TURN_CAP and _running[tenant_id] < share()


def is_full(tenant_id: int) -> bool:
    """Whether as many of this tenant's turns wait as may. May be asked in any thread."""
    return len(_waiting.get(tenant_id, ())) >= share()


@asynccontextmanager
async def place(tenant_id: int, tell: Callable[[int], None]) -> AsyncIterator[None]:
    """Hold a place for a turn, at once if there is room.

    tell  called with its number in line after a second and whenever that changes; with 0 at last, if it was called
    """
    if has_room(tenant_id):
        _running[tenant_id] += 1
    else:
        await _wait(tenant_id, tell)
    try:
        yield
    finally:
        _leave(tenant_id)


async def _wait(tenant_id: int, tell: Callable[[int], None]) -> None:
    granted = asyncio.get_running_loop().create_future()
    _waiting.setdefault(tenant_id, deque()).append(granted)
    told = 0
    try:
        while not granted.done():
            await asyncio.wait({granted}, timeout=TELL_SECONDS)
            number = 0 if granted.done() else _number(tenant_id, granted)
            if number != told:
                tell(number)
                told = number
    except asyncio.CancelledError:
        _step_out(tenant_id, granted)
        raise


def _step_out(tenant_id: int, granted: asyncio.Future) -> None:
    if granted.done():  # it came in the same moment
        _leave(tenant_id)
        return
    _waiting[tenant_id].remove(granted)
    if not _waiting[tenant_id]:
        del _waiting[tenant_id]


def _leave(tenant_id: int) -> None:
    """Give a place back, and to whoever is next what is free then."""
    _running[tenant_id] -= 1
    if not _running[tenant_id]:
        del _running[tenant_id]
    while (following := next(filter(has_room, _waiting), None)) is not None:
        queue = _waiting.pop(following)
        _running[following] += 1
        queue.popleft().set_result(None)
        if queue:
            _waiting[following] = queue  # the others are first now


def _number(tenant_id: int, granted: asyncio.Future) -> int:
    """How many-th it is in line, if all tenants' places get free alike."""
    mine = _waiting[tenant_id].index(granted) + 1
    ahead, rounds = mine, mine  # a tenant before mine has had as many rounds as mine will; one behind it, one less
    for other, queue in _waiting.items():
        if other == tenant_id:
            rounds -= 1
        else:
            ahead += min(len(queue), rounds)
    return ahead
