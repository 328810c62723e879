"""The cases of Autobahn's test suite, which needs Python 2, against the chat's door; each group bears its number there.

The door is no echo server, but says which key of a frame it does not know: so a text that was received whole comes back
in an error. Judged as Autobahn does: pongs, codes of closing, a message that comes back. What it calls NON-STRICT (an
invalid text is refused at its end, not at once) is let through. Left out: 9.7 and 9.8, a thousand messages in a row,
which the door takes more slowly on purpose; and 12 and 13 but for one case each: deflate is never agreed to.
"""

import asyncio
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tenants import provisioning
from tenants.context import TenantRef
from tests.conftest import host_of

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CAP = 65_536
AT_ONCE, SECONDS = 30, 10  # sockets of one address, while the server lets in 50


def frame(code: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame of a client."""
    head, mask = bytes([fin << 7 | rsv << 4 | code]), masked << 7
    if len(data) < 126:
        head += bytes([mask | len(data)])
    elif len(data) < CAP:
        head += bytes([mask | 126]) + struct.pack("!H", len(data))
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", len(data))
    if not masked:
        return head + data
    key = os.urandom(4)
    masking = int.from_bytes((key * (len(data) // 4 + 1))[: len(data)], "big")
    return head + key + (int.from_bytes(data, "big") ^ masking).to_bytes(len(data), "big")


def saying(key: bytes | str) -> bytes:
    """A frame of ours that is answered by what its key was."""
    key = key.encode() if isinstance(key, str) else key
    return b'{"type":"typing","on":true,"' + key + b'":1}'


def sized(size: int) -> tuple[bytes, str]:
    """Such a frame of so many bytes, and its key."""
    key = "*" * (size - len(saying("")))
    return saying(key), key


def fragments(data: bytes, *sizes: int, code: int = TEXT) -> list[bytes]:
    """Frames of one message that is cut into pieces of these sizes, the last one again and again."""
    pieces, at = [], 0
    while at < len(data):
        size = sizes[min(len(pieces), len(sizes) - 1)]
        pieces.append(data[at : at + size])
        at += size
    last = len(pieces) - 1
    return [frame(CONT if n else code, piece, fin=n == last) for n, piece in enumerate(pieces)]


def chopped(data: bytes, size: int = 1) -> list[bytes]:
    """What goes onto the wire piece by piece."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def closing(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """A frame that closes."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


@dataclass(frozen=True)
class Case:
    """What is sent, each piece by itself, and what must come of it.

    answers  pongs as (PONG, data), messages by their key as (TEXT, key), in this order; then we close, if they came
    code     with which the server closes; 1000 when it answers our close, None for a close that names no code
    strict   False: what it answered before it found a fault is its own affair
    """

    number: str
    sent: list[bytes]
    answers: tuple = ()
    code: int | None = 1000
    strict: bool = True
    closes: bool = True  # we close, once the answers are there


def fails(number: str, *sent: bytes, code: int = 1002) -> Case:
    """The server closes."""
    return Case(number, list(sent), code=code, strict=False, closes=False)


def comes_back(number: str, sent: list[bytes], *keys: str) -> Case:
    return Case(number, sent, tuple((TEXT, key) for key in keys))


NOT_JSON, NOT_TEXT = "frame: Invalid JSON", "frame: send JSON text"  # of messages whose content is nothing to us
HELLO = frame(TEXT, saying("Hello, world!"))


def framing() -> Iterator[Case]:
    """1: texts and bytes of all the lengths at which a frame's head changes."""
    yield comes_back("1.1.1", [frame(TEXT)], NOT_JSON)
    yield comes_back("1.2.1", [frame(BINARY)], NOT_TEXT)
    for number, size in enumerate((125, 126, 127, 128, 65_535, 65_536), 2):
        data, key = sized(size)
        yield comes_back(f"1.1.{number}", [frame(TEXT, data)], key)
        yield comes_back(f"1.2.{number}", [frame(BINARY, data)], NOT_TEXT)
    data, key = sized(65_536)
    yield comes_back("1.1.8", chopped(frame(TEXT, data), 997), key)
    yield comes_back("1.2.8", chopped(frame(BINARY, data), 997), NOT_TEXT)


def pings() -> Iterator[Case]:
    """2: pings come back, pongs that nobody asked for do not matter."""
    payloads = (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125)
    for number, payload in enumerate(payloads, 1):
        yield Case(f"2.{number}", [frame(PING, payload)], ((PONG, payload),))
    yield fails("2.5", frame(PING, b"\xfe" * 126))
    yield Case("2.6", chopped(frame(PING, b"\xfe" * 125)), ((PONG, b"\xfe" * 125),))
    yield Case("2.7", [frame(PONG)])
    yield Case("2.8", [frame(PONG, b"unasked")])
    yield Case("2.9", [frame(PONG, b"unasked"), frame(PING, b"asked")], ((PONG, b"asked"),))
    ten = [frame(PING, b"payload-%d" % n) for n in range(10)]
    pongs = tuple((PONG, b"payload-%d" % n) for n in range(10))
    yield Case("2.10", ten, pongs)
    yield Case("2.11", chopped(b"".join(ten)), pongs)


def reserved() -> Iterator[Case]:
    """3: reserved bits, and 4: reserved codes."""
    yield fails("3.1", frame(TEXT, saying("*"), rsv=1))
    yield fails("3.2", HELLO, frame(TEXT, saying("*"), rsv=2), frame(PING))
    yield fails("3.3", HELLO + frame(TEXT, saying("*"), rsv=3) + frame(PING))
    yield fails("3.4", *chopped(HELLO + frame(TEXT, saying("*"), rsv=4) + frame(PING)))
    yield fails("3.5", frame(BINARY, b"\x00\xff" * 4, rsv=5))
    yield fails("3.6", frame(PING, b"Hello, world!", rsv=6))
    yield fails("3.7", frame(CLOSE, struct.pack("!H", 1000), rsv=7))
    for group, first in (("4.1", 3), ("4.2", 11)):
        yield fails(f"{group}.1", frame(first))
        yield fails(f"{group}.2", frame(first + 1, b"reserved"))
        yield fails(f"{group}.3", HELLO, frame(first + 2), frame(PING))
        yield fails(f"{group}.4", HELLO + frame(first + 3, b"reserved") + frame(PING))
        yield fails(f"{group}.5", *chopped(HELLO + frame(first + 4, b"reserved") + frame(PING)))


def fragmented() -> Iterator[Case]:
    """5: messages in fragments, with pings between them, and fragments of nothing."""
    yield fails("5.1", frame(PING, b"frag", fin=False), frame(CONT, b"ment"))
    yield fails("5.2", frame(PONG, b"frag", fin=False), frame(CONT, b"ment"))
    one, other = fragments(saying("two fragments"), 31)
    ping, pong = frame(PING, b"between"), ((PONG, b"between"), (TEXT, "two fragments"))
    for number, sent in enumerate(([one, other], [one + other], chopped(one + other)), 3):
        yield comes_back(f"5.{number}", sent, "two fragments")
    for number, sent in enumerate(([one, ping, other], [one + ping + other], chopped(one + ping + other)), 6):
        yield Case(f"5.{number}", sent, pong)
    for number, fin in ((9, True), (12, False)):
        lost = frame(CONT, b"of nothing", fin=fin)
        yield fails(f"5.{number}", lost, HELLO)
        yield fails(f"5.{number + 1}", lost + HELLO)
        yield fails(f"5.{number + 2}", *chopped(lost + HELLO))
    yield fails("5.15", one, other, frame(CONT, b"of nothing", fin=False), HELLO)
    for number, fin in ((16, False), (17, True)):
        yield fails(f"5.{number}", *[frame(CONT, b"of nothing", fin=fin), one, other] * 2)
    yield fails("5.18", one, frame(TEXT, b"another", fin=True))
    five = fragments(saying("in five fragments"), 10)
    mixed = [*five[:2], frame(PING, b"1"), *five[2:4], frame(PING, b"2"), *five[4:]]
    both = ((PONG, b"1"), (PONG, b"2"), (TEXT, "in five fragments"))
    yield Case("5.19", mixed, both)
    yield Case("5.20", chopped(b"".join(mixed)), both)


KOSME = "κόσμε"
LONG = "Hello-µ@ßöäüàá-UTF-8!!"
VALID = {
    "6.5": ["ἀ", "κ", KOSME, KOSME * 20, "𐍈"],
    "6.7": ["\x80", "ࠀ", "\U00010000"],
    "6.9": ["\x7f", "߿", "\uffff", "\U0010ffff"],
    "6.11": ["\ud7ff", "\ue000", "\ufffd", "\U0010ffff"],
    "6.22": [chr(plane << 16 | 0xFFFE | low) for plane in range(17) for low in (0, 1)],
    "6.23": ["\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"],
}
SURROGATES = ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"]
INVALID = {  # in hex
    "6.6": ["ce", "cebae1", "cebae1bd", "cebae1bdb9cf", "cebae1bdb9cf83ce", "cebae1bdb9cf83cebcce"],
    "6.8": ["f888808080", "fc8480808080"],
    "6.10": ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
    "6.11": ["f4908080"],
    "6.12": ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf",
             "".join(f"{code:x}" for code in range(0x80, 0xC0))],
    "6.13": ["".join(f"{n:x}20" for n in codes) for codes in (range(0xC0, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF8),
                                                            range(0xF8, 0xFC), range(0xFC, 0xFE))],
    "6.14": ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"],
    "6.15": ["c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"],
    "6.16": ["fe", "ff", "fefeffff"],
    "6.17": ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
    "6.18": ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
    "6.19": ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
    "6.20": SURROGATES,
    "6.21": [one + other for one in SURROGATES[:4] for other in ("edb080", "edbfbf")],
}  # fmt: skip


def texts() -> Iterator[Case]:
    """6: texts that are UTF-8 come back, every second one cut between its bytes; others are refused."""
    yield comes_back("6.1.1", [frame(TEXT)], NOT_JSON)
    yield comes_back("6.1.2", [frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT)], NOT_JSON)
    middle = [frame(TEXT, fin=False), frame(CONT, saying("middle"), fin=False), frame(CONT)]
    yield comes_back("6.1.3", middle, "middle")
    data = saying(LONG)
    yield comes_back("6.2.1", [frame(TEXT, data)], LONG)
    yield comes_back("6.2.2", fragments(data, len(saying("")) + 4), LONG)
    yield comes_back("6.2.3", fragments(data, 1), LONG)
    yield comes_back("6.2.4", fragments(saying(KOSME), 1), KOSME)
    bad = saying(KOSME.encode() + b"\xed\xa0\x80edited")
    yield fails("6.3.1", frame(TEXT, bad), code=1007)
    yield fails("6.3.2", *fragments(bad, 1), code=1007)
    start, end = len(saying(KOSME)) - 4, 4
    for number, middle in enumerate((b"\xf4\x90\x80\x80", b"\xf4\x90"), 1):
        cut = saying(KOSME.encode() + middle + b"edited")
        yield fails(f"6.4.{number}", *fragments(cut, start, len(middle), len(cut)), code=1007)
        yield fails(f"6.4.{number + 2}", *chopped(frame(TEXT, cut), end), code=1007)
    for group, keys in VALID.items():
        for number, key in enumerate(keys, 1):
            cut = fragments(saying(key), 28, 1) if number % 2 else [frame(TEXT, saying(key))]
            yield comes_back(f"{group}.{number}", cut, key)
    for group, keys in INVALID.items():
        for number, key in enumerate(keys, 1):
            bad = saying(bytes.fromhex(key))
            cut = fragments(bad, 28, 1) if number % 2 else [frame(TEXT, bad)]
            yield fails(f"{group} no {number}", *cut, code=1007)


def closes() -> Iterator[Case]:
    """7: how a socket is closed, with which codes, and what comes after that."""
    yield comes_back("7.1.1", [HELLO], "Hello, world!")
    yield Case("7.1.2", [closing(), closing()], closes=False)
    yield Case("7.1.3", [closing(), frame(PING)], closes=False)
    yield Case("7.1.4", [closing(), HELLO], closes=False)
    yield Case("7.1.5", [frame(TEXT, b"frag", fin=False), closing(), frame(CONT, b"ment")], closes=False)
    large, key = sized(CAP)
    yield Case("7.1.6", [frame(TEXT, large), HELLO, closing(), frame(PING)], closes=False, strict=False)
    yield Case("7.3.1", [closing(None)], code=None, closes=False)
    yield fails("7.3.2", frame(CLOSE, b"a"))
    yield Case("7.3.3", [closing()], closes=False)
    yield Case("7.3.4", [closing(1000, b"Hello, world!")], closes=False)
    yield Case("7.3.5", [closing(1000, b"*" * 123)], closes=False)
    yield fails("7.3.6", closing(1000, b"*" * 124))
    yield fails("7.5.1", closing(1000, KOSME.encode() + b"\xed\xa0\x80edited"), code=1007)
    for number, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield Case(f"7.7.{number}", [closing(code)], code=code, closes=False)
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield fails(f"7.9.{number}", closing(code))
    for number, code in enumerate((5000, 65_535), 1):
        yield fails(f"7.13.{number}", closing(code))


def limits() -> Iterator[Case]:
    """9: the largest messages there may be, whole, in fragments and in pieces of all sizes; larger ones end it.

    10: the same in fragments as a client makes them by itself.
    """
    data, key = sized(CAP)
    yield comes_back("9.1.1", [frame(TEXT, data)], key)
    yield comes_back("9.2.1", [frame(BINARY, data)], NOT_TEXT)
    for number, size in enumerate((256, 1024, 4096, 16_384), 2):
        yield fails(f"9.1.{number}", frame(TEXT, bytes(size * 1024)), code=1009)
        yield fails(f"9.2.{number}", frame(BINARY, bytes(size * 1024)[: 4 * CAP]), code=1009)
    for number, size in enumerate((256, 1024, 4096, 16_384, CAP), 3):
        yield comes_back(f"9.3.{number}", fragments(data, size), key)
        yield comes_back(f"9.4.{number}", fragments(data, size, code=BINARY), NOT_TEXT)
    yield fails("9.3 one byte more", *fragments(data + b" ", 4096), code=1009)
    for number, size in enumerate((64, 128, 256, 512, 1024, 2048), 1):
        yield comes_back(f"9.5.{number}", chopped(frame(TEXT, data), size), key)
        yield comes_back(f"9.6.{number}", chopped(frame(BINARY, data), size), NOT_TEXT)
    yield comes_back("10.1.1", fragments(data, 1300), key)


def masks() -> Iterator[Case]:
    """Not among Autobahn's: a client that does not mask."""
    yield fails("unmasked", frame(TEXT, saying("*"), masked=False))
    yield fails("unmasked ping", frame(PING, masked=False))


class Peer:
    """One connection that was upgraded, to its end."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.answers: list[tuple] = []
        self.code: int | None = -1  # the server has not closed

    async def run(self, case: Case) -> None:
        """Send, look, and close if that is ours to do."""
        looking = asyncio.create_task(self._look(case))
        try:
            for piece in case.sent:
                self.writer.write(piece)
                await asyncio.sleep(0)  # so that small pieces are read one by one
            await looking
        except ConnectionError:
            await looking
        finally:
            looking.cancel()
            self.writer.close()

    async def _look(self, case: Case) -> None:
        if case.closes and not case.answers:
            self.writer.write(closing())
        while (found := await self._frame()) is not None:
            code, data = found
            if code == CLOSE:
                self.code = struct.unpack("!H", data[:2])[0] if data else None
                break
            self.answers.append((code, _said(data) if code == TEXT else data))
            if case.closes and len(self.answers) == len(case.answers):
                self.writer.write(closing())
        if self.code != -1 and case.code == self.code:
            assert await self.reader.read() == b"", "more after the close"

    async def _frame(self) -> tuple[int, bytes] | None:
        try:
            first, size = await self.reader.readexactly(2)
            if size == 126:
                [size] = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                [size] = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


def _said(data: bytes) -> str:
    [event] = json.loads(data)["events"]
    return event["text"].removeprefix("typing.").removesuffix(": Extra inputs are not permitted")


async def upgrade(tenant: TenantRef, port: int, *more: str):
    """(Reader, writer, the head of the answer) of a connection at the chat's door."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    host = f"{host_of(tenant)}:{port}"
    lines = ["GET /ws/chat/ HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", f"Origin: http://{host}",
             *more]  # fmt: skip
    writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 101 "), head
    return reader, writer, head


async def fault_of(case: Case, tenant: TenantRef, port: int, turns: asyncio.Semaphore) -> str:
    """What went otherwise than it must; empty if nothing did."""
    async with turns, asyncio.timeout(SECONDS):
        reader, writer, _ = await upgrade(tenant, port)
        peer = Peer(reader, writer)
        await peer.run(case)
    if peer.code != case.code:
        return f"closed with {peer.code}, not {case.code}"
    if not case.strict:
        return ""
    same = len(peer.answers) == len(case.answers) and all(map(_same, peer.answers, case.answers))
    return "" if same else f"answered {str(peer.answers)[:200]}"


def _same(answer: tuple, expected: tuple) -> bool:
    """Of what is not JSON, only the beginning is known."""
    said = expected[1]
    return answer == expected or said in (NOT_JSON, NOT_TEXT) and answer[0] == TEXT and answer[1].startswith(said)


@pytest.fixture(scope="module")
def tenant() -> TenantRef:
    name = f"autobahn-{uuid4().hex[:6]}"
    return provisioning.create(name=name, slug=name, vertical="healthcare", plan="pro", by="a test").ref()


@pytest.mark.parametrize("cases", [framing, pings, reserved, fragmented, texts, closes, limits, masks])
async def test_h2_autobahn_cases(tenant, server, cases):
    turns, table = asyncio.Semaphore(AT_ONCE), list(cases())
    assert len({case.number for case in table}) == len(table)
    found = await asyncio.gather(*(fault_of(case, tenant, server, turns) for case in table), return_exceptions=True)
    assert {case.number: fault for case, fault in zip(table, found, strict=True) if fault} == {}


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits=9"])
async def test_h2_autobahn_12_and_13_deflate_is_not_agreed_to_and_frames_that_use_it_end_the_socket(
    tenant, server, offer
):
    reader, writer, head = await upgrade(tenant, server, f"Sec-WebSocket-Extensions: {offer}")
    assert "sec-websocket-extensions" not in head
    peer = Peer(reader, writer)
    await peer.run(fails("12.1.1", frame(TEXT, saying("*"), rsv=4)))
    assert peer.code == 1002
