"""What sockets wait at: nothing is lost, kept back or given to the wrong one."""

import asyncio

import pytest

from platform_site.waiting import Gate, Mailbox


async def test_a_mailbox_gives_in_the_order_of_arrival():
    box = Mailbox()
    box.put_nowait(1)
    box.put_nowait(2)
    assert box.qsize() == 2
    assert [await box.get(), box.get_nowait()] == [1, 2]
    assert box.empty()
    with pytest.raises(asyncio.QueueEmpty):
        box.get_nowait()


async def test_a_reader_that_waits_gets_what_comes():
    box = Mailbox()
    reader = await waiting(box.get())
    box.put_nowait(1)
    box.put_nowait(2)
    assert await reader == 1
    assert await box.get() == 2


async def test_a_cancelled_reader_takes_nothing_along():
    box = Mailbox()
    reader = await waiting(box.get())
    box.put_nowait(1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await box.get() == 1


async def test_a_mailbox_emptied_before_its_reader_came_round_lets_it_wait_on():
    box = Mailbox()
    reader = await waiting(box.get())
    box.put_nowait(1)
    assert box.get_nowait() == 1
    await asyncio.sleep(0)
    box.put_nowait(2)
    assert await reader == 2


async def test_a_second_reader_is_refused():
    box = Mailbox()
    reader = await waiting(box.get())
    with pytest.raises(RuntimeError):
        await box.get()
    box.put_nowait(1)
    assert await reader == 1


async def test_all_who_wait_at_a_gate_go_on_when_it_opens():
    gate = Gate()
    await gate.wait()
    gate.clear()
    waiters = [await waiting(gate.wait()) for _ in range(3)]
    assert not gate.is_set()
    gate.set()
    gate.set()
    assert gate.is_set()
    await asyncio.gather(*waiters)


async def test_a_waiter_that_is_cancelled_leaves_the_others_waiting():
    gate = Gate()
    gate.clear()
    first, second = await waiting(gate.wait()), await waiting(gate.wait())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not second.done() and not gate.is_set()
    gate.set()
    await second


async def waiting(work) -> asyncio.Task:
    """A task that has begun with the work."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    assert not task.done()
    return task
