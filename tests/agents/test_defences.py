"""The chat door and the web server against clients that are slow, many, silent or hostile."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import websockets

from agents import places
from agents.conversations.models import Message
from agents.errors import TooManySockets
from platform_site import callers
from tenants import store
from tenants.context import acting_for, run_for
from tenants.keys import redis_key
from tests.agents.chatting import Browser
from tests.conftest import host_of, until, web_process
from tests.processes import process_of

QUICK = {
    "SOCKET_MESSAGES": "5", "SOCKETS_PER_ADDRESS": "3", "SOCKETS_PER_TENANT": "6",
    "HEADER_SECONDS": "0.5", "BODY_SECONDS": "0.5",
}  # fmt: skip
TYPING = b'{"type":"typing","on":true}'
PING, TEXT, CONTINUATION, LAST, MASKED = 0x9, 0x1, 0x0, 0x80, 0x80


@pytest.fixture(scope="module")
def door():
    """A web process with small limits that looks for dead peers every second; its port."""
    with web_process("--ws-ping-interval", "1", "--ws-ping-timeout", "1", **QUICK) as port:
        yield port


def framed(payload: bytes, *, code: int, last: bool = True) -> bytes:
    """A client's frame of at most 125 bytes; its mask changes nothing."""
    return bytes([code | (LAST if last else 0), MASKED | len(payload)]) + bytes(4) + payload


def held_by(tenant) -> int:
    """Places that Valkey knows of the tenant."""
    with acting_for(tenant):
        return sum(map(int, store.client().hvals(redis_key("sockets"))))


async def places_of(tenant, count: int) -> None:
    """Wait until the tenant holds so many places."""
    await asyncio.to_thread(until, lambda: held_by(tenant) == count)


async def refusal(browser: Browser) -> dict:
    """What a socket is told that is turned away."""
    async with browser.socket(say_hello=False) as chat:
        error = await chat.next()
        with pytest.raises(websockets.ConnectionClosed):
            await chat.next()
        assert chat.raw.close_code == 4429
    return error


async def is_let_in(browser: Browser) -> bool:
    """Whether the visitor is greeted."""
    async with browser.socket() as chat:
        return chat.ready["type"] == "ready"


# --- h1: slow clients


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_h1_headers_that_do_not_come_end_the_connection(door, begun):
    reader, writer = await asyncio.open_connection("127.0.0.1", door)
    writer.write(begun)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_h1_the_headers_of_a_second_request_have_no_longer_than_those_of_the_first(door):
    reader, writer = await asyncio.open_connection("127.0.0.1", door)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in await reader.readline()
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: ")
    await asyncio.wait_for(reader.read(), 4)  # before the five seconds that an unused connection is kept
    writer.close()


async def test_h1_a_body_that_comes_in_drops_is_given_up(door, acme):
    reader, writer = await asyncio.open_connection("127.0.0.1", door)
    head = f"POST /chat/ticket/ HTTP/1.1\r\nHost: {host_of(acme)}:{door}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode())

    async def drip():
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    answer = await asyncio.wait_for(reader.read(), 10)
    dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408") and b"too slowly" in answer
    writer.close()


# --- h2: huge and compressed frames


async def test_h2_frames_and_messages_over_64_kib_close_the_socket(door, acme):
    for parts in (["x" * 65_537], ["x" * 40_000] * 2):
        async with Browser(acme, door).socket() as chat:
            with pytest.raises(websockets.ConnectionClosed):
                await chat.raw.send(parts)
                await chat.next()
            assert chat.raw.close_code == 1009


async def test_h2_a_message_of_endless_empty_fragments_closes_the_socket(door, acme):
    async with Browser(acme, door).socket() as chat:
        begun, more = (framed(b"", code=code, last=False) for code in (TEXT, CONTINUATION))
        chat.raw.transport.write(begun + more * 5_000)
        with pytest.raises(websockets.ConnectionClosed):
            await chat.next()
        assert chat.raw.close_code == 1009


async def test_h2_no_compression_is_agreed_to(door, acme):
    async with Browser(acme, door).socket() as chat:
        assert "permessage-deflate" in chat.raw.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in chat.raw.response.headers


# --- h3: floods, and peers that are not there


async def test_h3_more_messages_than_a_person_writes_are_given_back(door, acme):
    async with Browser(acme, door).socket() as chat:
        said = [await chat.ask("Hello?") for _ in range(5)]
        sixth = await chat.ask("And this?")
        while (error := await chat.next())["type"] != "error":
            pass
        assert (error["code"], error["id"]) == ("too_fast", sixth)
        assert 0 < error["retry_after"] <= 10
        answer = str(uuid4())
        for frame in ({"type": "request_human"}, {"type": "feedback", "message": answer, "value": 1}):
            await chat.send(frame)
            while (error := await chat.next())["type"] != "error":
                pass
            assert (error["code"], error["id"]) == ("too_fast", frame.get("message"))
    stored = await run_for(acme, lambda: set(Message.objects.filter(role="user").values_list("client_id", flat=True)))
    assert set(map(str, stored)) == set(said)


async def test_h3_a_socket_that_sends_frame_after_frame_is_read_slower(door, acme):
    async with Browser(acme, door).socket() as chat:
        for _ in range(50):
            await chat.raw.send(TYPING.decode())
        await chat.send("not a frame")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.raw.recv(), 0.5)
        chat.raw.transport.abort()


async def test_h3_thousands_of_frames_at_once_close_the_socket(door, acme):
    async with Browser(acme, door).socket() as chat:
        chat.raw.transport.write(framed(TYPING, code=TEXT) * 5_000)
        with pytest.raises(websockets.ConnectionClosed):
            await chat.next()
        assert chat.raw.close_code == 1008


async def test_h3_a_flood_of_pings_that_reads_no_pong_costs_no_memory(door, acme):
    pid = process_of(door)
    async with Browser(acme, door).socket() as chat:
        before = resident_mb(pid)
        chat.raw.transport.pause_reading()
        for _ in range(100):  # 13 MB
            chat.raw.transport.write(framed(bytes(125), code=PING) * 1_000)
            await asyncio.sleep(0)
        await places_of(acme, 0)
        assert resident_mb(pid) - before < 10
        chat.raw.transport.abort()


async def test_h3_what_an_open_socket_sent_as_headers_is_not_kept(door, acme):
    pid, address = process_of(door), f"ws://{host_of(acme)}:{door}/ws/chat/"
    headers = [("X-Filler", "x" * 8_000)] * 100
    grown = []
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(
                websockets.connect(address, host="127.0.0.1", port=door, additional_headers=headers)
            )
            grown.append(resident_mb(pid))
        assert grown[-1] - grown[0] < 2  # 4 MB came, and were held as text and as bytes


async def test_h3_a_peer_that_answers_no_ping_is_dropped(door, acme):
    async with Browser(acme, door).socket() as chat:
        assert held_by(acme) == 1
        chat.raw.transport.pause_reading()
        await places_of(acme, 0)
        chat.raw.transport.abort()


async def test_h3_clients_that_leave_at_once_hold_no_places(door, acme):
    browser = Browser(acme, door)
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nConnection: Upgrade\r\n"
    head = f"GET /ws/chat/ HTTP/1.1\r\nHost: {browser.host}\r\nUpgrade: websocket\r\n{key}\r\n"
    for _ in range(12):
        _, writer = await asyncio.open_connection("127.0.0.1", door)
        writer.write(head.encode())
        await asyncio.sleep(0.01)
        writer.transport.abort()
    await places_of(acme, 0)
    assert await is_let_in(browser)


async def test_h3_a_tenant_has_so_many_sockets_and_its_neighbour_its_own(door, acme, globex):
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(Browser(acme, door).socket(say_hello=False))
        error = await refusal(Browser(acme, door))
        assert error["code"] == "too_many_sockets" and error["retry_after"] > 0
        assert await is_let_in(Browser(globex, door))
    await places_of(acme, 0)
    assert await is_let_in(Browser(acme, door))


# --- h7: counted as whom


@pytest.mark.parametrize(
    ("address", "network"),
    [("203.0.113.7", "203.0.113.7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
     ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"), ("127.0.0.1", None), ("::1", None), ("::ffff:127.0.0.1", None),
     ("", "unknown"), ("nonsense", "unknown")],
)  # fmt: skip
def test_h7_an_address_counts_as_what_one_caller_has(address, network):
    assert callers.network_of(address) == network


async def test_h7_sockets_of_an_address_are_counted_over_tenants_and_processes(door, server, acme, globex):
    crowded = [Browser(tenant, port, address=f"2001:db8:7::{n}") for n, (tenant, port) in
               enumerate([(acme, server), (globex, server), (acme, door)])]  # fmt: skip
    async with AsyncExitStack() as stack:
        for browser in crowded:
            await stack.enter_async_context(browser.socket(say_hello=False))
        error = await refusal(Browser(globex, door, address="2001:db8:7::9"))
        assert error["code"] == "too_many_sockets" and "your network" in error["text"]
        assert await is_let_in(Browser(globex, door, address="2001:db8:8::9"))
    await places_of(acme, 0)
    assert await is_let_in(Browser(globex, door, address="2001:db8:7::9"))


async def test_h7_what_a_client_says_of_its_address_in_front_of_the_proxy_does_not_count(door, acme):
    async with AsyncExitStack() as stack:
        for n in range(3):
            browser = Browser(acme, door, address=f"198.51.100.{n}, 203.0.113.77")  # as a proxy that appends has it
            await stack.enter_async_context(browser.socket(say_hello=False))
        assert (await refusal(Browser(acme, door, address="198.51.100.99, 203.0.113.77")))["code"] == "too_many_sockets"


async def test_h7_nobody_is_taken_for_dead_before_all_have_been_heard_again(empty_store, acme, settings):
    settings.SOCKETS_PER_TENANT = 2
    store.client().hset(f"t:{{{acme.id}}}:sockets", "1000-elsewhere", 2)
    with pytest.raises(TooManySockets):
        await places.claim(acme, "")
    assert held_by(acme) == 2


async def test_h7_nobody_is_taken_for_dead_while_all_leases_have_lapsed(empty_store, acme, settings, monkeypatch):
    settings.SOCKETS_PER_TENANT = 2
    monkeypatch.setattr(places, "PROCESS", "1000-here")  # as old as the other
    store.client().zadd(places.PROCESSES, {"since:1000": "inf"})  # nothing was lost, but nobody could renew
    store.client().hset(f"t:{{{acme.id}}}:sockets", "1000-elsewhere", 2)
    with pytest.raises(TooManySockets):
        await places.claim(acme, "")
    assert held_by(acme) == 2


async def test_h7_what_others_dropped_of_a_process_that_was_missing_is_written_again(empty_store, acme):
    place = await places.claim(acme, "")
    store.client().zrem(places.PROCESSES, places.PROCESS)
    for _ in range(2):  # a process that has not heard of us yet may drop it once more
        store.client().delete(f"t:{{{acme.id}}}:sockets")
        await places.renew()
        assert held_by(acme) == 1
    await places.leave(place)


async def test_h7_places_of_a_killed_process_count_no_more(empty_store, acme, settings):
    settings.SOCKETS_PER_TENANT = 2
    store.client().zadd(places.PROCESSES, {"since:1000": "inf", places.PROCESS: (time.time() + 30) * 1000})
    store.client().hset(f"t:{{{acme.id}}}:sockets", "1000-dead", 2)
    place = await places.claim(acme, "")
    assert held_by(acme) == 1
    await places.leave(place)


async def test_h7_while_valkey_is_away_each_process_counts_for_itself(acme, settings, monkeypatch):
    settings.SOCKETS_PER_TENANT = 2
    there = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(store, "_async", {})
    held = [await places.claim(acme, "127.0.0.1") for _ in range(2)]
    with pytest.raises(TooManySockets):
        await places.claim(acme, "127.0.0.1")
    settings.REDIS_URL = there
    monkeypatch.setattr(store, "_async", {})
    await places.renew()  # Valkey is back: it is told
    assert held_by(acme) == 2
    for place in held:
        await places.leave(place)
    assert held_by(acme) == 0


def resident_mb(pid: int) -> float:
    """Memory of a process that is in use now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
