"""One attack on the chat door, for so many seconds: ``python -m tests.load.attackers NAME SLUG PORT SECONDS COUNT``.

A process of its own, so that what the attacker computes does not stand in the figures of those who are attacked.
Prints what became of it as one line. Run by attacks.py.
"""

import asyncio
import os
import sys
import zlib
from collections import Counter
from contextlib import AsyncExitStack, suppress

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

import websockets  # noqa: E402

from tenants import directory  # noqa: E402
from tests.agents.chatting import Browser  # noqa: E402

TYPING = b'{"type":"typing","on":true}'
HISTORY = b'{"type":"history","before":1000000}'
TEXT, PING, LAST, COMPRESSED, MASKED = 0x1, 0x9, 0x80, 0x40, 0x80
GONE = (OSError, websockets.WebSocketException, asyncio.IncompleteReadError, TimeoutError)


def framed(payload: bytes, *, code: int = TEXT) -> bytes:
    """A client's frame of at most 65,535 bytes; its mask changes nothing."""
    size = len(payload)
    length = bytes([MASKED | size]) if size < 126 else bytes([MASKED | 126, size >> 8, size & 255])
    return bytes([LAST | code]) + length + bytes(4) + payload


class Attack:
    """Who is attacked, where, for how long and by how many."""

    def __init__(self, tenant, port: int, seconds: float, count: int):
        self.tenant, self.port, self.seconds, self.count = tenant, port, seconds, count
        self.host = Browser(tenant, port).host
        self.outcomes: Counter[str] = Counter()

    async def each(self, one) -> None:
        """``count`` of them at once, until the time is over."""
        attackers = [asyncio.create_task(one(number)) for number in range(self.count)]
        _, running = await asyncio.wait(attackers, timeout=self.seconds)
        self.outcomes["still going"] += len(running)
        for attacker in running:
            attacker.cancel()
        await asyncio.wait(attackers, timeout=5)  # one in the middle of closing may not hear of it
        for error in (one.exception() for one in attackers if one.done() and not one.cancelled()):
            if error:
                self.outcomes[type(error).__name__] += 1

    async def drip(self, head: str, byte: bytes) -> None:
        """Send a head, then a byte from time to time, until the other side has enough."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.encode())
        ending = asyncio.create_task(reader.read())
        while not ending.done():
            writer.write(byte)
            await asyncio.wait({ending}, timeout=0.5)
        self.outcomes["given up by the server"] += 1
        writer.close()

    # --- the attacks

    async def slow_headers(self) -> None:
        await self.each(lambda number: self.drip(f"GET /chat/ HTTP/1.1\r\nHost: {self.host}\r\nX-Slow: ", b"x"))

    async def slow_bodies(self) -> None:
        head = f"POST /chat/ticket/ HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: 100000\r\n\r\n"
        await self.each(lambda number: self.drip(head, b"x"))

    async def frame_flood(self) -> None:
        await self.each(self._flood)

    async def _flood(self, number: int) -> None:
        """Greeted sockets that send as fast as they are read, and come again when they are closed."""
        while True:
            async with Browser(self.tenant, self.port).socket() as chat:
                with suppress(*GONE):
                    while True:
                        frame = {"type": "history", "before": 1} if number % 2 else {"type": "typing", "on": True}
                        await chat.send(frame)
                        self.outcomes["frames"] += 1
            self.outcomes[f"closed {chat.raw.close_code}"] += 1

    async def bursts(self) -> None:
        await self.each(self._burst)

    async def _burst(self, number: int) -> None:
        """Thousands of frames in one write, again and again."""
        while True:
            async with Browser(self.tenant, self.port).socket() as chat:
                chat.raw.transport.write(framed(TYPING) * 20_000)
                with suppress(*GONE):
                    while True:
                        await chat.raw.recv()
            self.outcomes[f"closed {chat.raw.close_code}"] += 1

    async def one_address(self) -> None:
        await self._connects(lambda number: "203.0.113.9")

    async def many_addresses(self) -> None:
        await self._connects(lambda number: f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")

    async def _connects(self, address) -> None:
        """So many sockets, a hundred at a time; those that are let in stay."""
        places, started, chats = asyncio.Semaphore(100), asyncio.get_running_loop().time(), []
        async with AsyncExitStack() as stack:

            async def one(number: int):
                browser = Browser(self.tenant, self.port, address=address(number))
                async with places:
                    chats.append(await stack.enter_async_context(browser.socket(say_hello=False)))

            await asyncio.gather(*(one(number) for number in range(self.count)), return_exceptions=True)
            taken = asyncio.get_running_loop().time() - started
            self.outcomes["a second"] = round(self.count / taken)
            await asyncio.sleep(2)
            for chat in chats:
                self.outcomes["turned away" if chat.raw.close_code == 4429 else "let in"] += 1
            self.outcomes["not connected"] = self.count - len(chats)
            await asyncio.sleep(max(0, self.seconds - taken - 2))

    async def deflate(self) -> None:
        await self.each(self._bomb)

    async def _bomb(self, number: int) -> None:
        """Offers compression, and sends a frame that would become 60 MB, agreed or not."""
        bomb = zlib.compressobj(wbits=-15)
        packed = (bomb.compress(bytes(60_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]
        while True:
            async with Browser(self.tenant, self.port).socket() as chat:
                agreed = "deflate" in chat.raw.response.headers.get("Sec-WebSocket-Extensions", "")
                chat.raw.transport.write(framed(packed[:60_000], code=TEXT | COMPRESSED))
                with suppress(*GONE):
                    await asyncio.wait_for(chat.raw.recv(), 5)
            self.outcomes["agreed" if agreed else "not agreed"] += 1
            self.outcomes[f"closed {chat.raw.close_code}"] += 1

    async def half_open(self) -> None:
        await self.each(self._silent)

    async def _silent(self, number: int) -> None:
        """Greeted, then as if the cable were cut: nothing is read, no ping is answered."""
        async with Browser(self.tenant, self.port).socket() as chat:
            chat.raw.transport.pause_reading()
            await asyncio.sleep(self.seconds + 60)

    async def never_reading(self) -> None:
        await self.each(self._deaf)

    async def _deaf(self, number: int) -> None:
        """Asks for more than it ever reads: answers, then the same history again and again."""
        async with Browser(self.tenant, self.port).socket() as chat:
            chat.raw.transport.pause_reading()
            for _ in range(5):
                await chat.ask("Tell me everything you know about this place, at length.")
            while not chat.raw.transport.is_closing():
                chat.raw.transport.write(framed(HISTORY))
                await asyncio.sleep(0.25)
            self.outcomes["dropped by the server"] += 1

    async def pings(self) -> None:
        await self.each(self._pinging)

    async def _pinging(self, number: int) -> None:
        """Pings without end, whose pongs it never reads; comes again when it is closed."""
        while True:
            async with Browser(self.tenant, self.port).socket() as chat:
                chat.raw.transport.pause_reading()
                while not chat.raw.transport.is_closing():
                    chat.raw.transport.write(framed(bytes(125), code=PING) * 500)
                    await asyncio.sleep(0.01)
                chat.raw.transport.abort()
            self.outcomes["dropped by the server"] += 1


async def main(name: str, slug: str, port: int, seconds: float, count: int) -> None:
    tenant = await asyncio.to_thread(_tenant, slug)
    attack = Attack(tenant, port, seconds, count)
    await getattr(attack, name)()
    print(", ".join(f"{number:,} {what}" for what, number in attack.outcomes.items() if number), flush=True)
    os._exit(0)  # open sockets end as those of a killed attacker do


def _tenant(slug: str):
    return next(tenant for tenant in directory.all_active() if tenant.slug == slug)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
