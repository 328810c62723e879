"""Compares what each door told of a conversation with what the database holds, in the manner of Jepsen's checkers.

A door is whoever looks on: the visitor's page, a second tab of it, a program. Of each connection that it had, it keeps
all events as they came. Nothing stored may be missing, nothing may come twice, nothing may come that is not stored, and
all doors see one order, the database's. Staff have no door to conversations yet.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

from agents.conversations import reading
from agents.conversations.models import Conversation, Message, Turn
from tenants.context import run_for

SHOWN = ("message", "turn.finished")  # they bring a stored message; `accepted` names one


@dataclass
class Connection:
    """One socket or stream.

    hello   what was known when it was opened: ``seq``, and the cursor of a ``turn``
    events  all it brought, in order; a list of messages counts as an event ``history``
    asked   the ids of the messages that were sent over it
    """

    hello: dict = field(default_factory=dict)
    events: list[dict] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@dataclass
class Door:
    """One onlooker, and all its connections, the oldest first.

    is_current  it has been told all there is by now
    is_whole    nothing was wrong between it and who answered: what streamed is each answer's whole text
    """

    name: str
    connections: list[Connection]
    is_current: bool = True
    is_whole: bool = False


def door(name: str, *chats, **facts) -> Door:
    """Of one visitor's sockets (tests/agents/chatting.py), the oldest first."""
    return Door(name, [Connection(chat.hello, chat.events, chat.asked) for chat in chats], **facts)


async def page(browser) -> Door:
    """The visitor's page, loaded anew: the newest messages stand in it."""
    await browser.ticket()
    found = re.search(r'<script id="chat-messages"[^>]*>(.*?)</script>', browser.page, re.DOTALL)
    messages = json.loads(found[1])
    before = {"seq": messages[0]["seq"] - 1 if messages else 0}
    return Door("page", [Connection(before, [{"type": "history", "messages": messages}])])


@dataclass(frozen=True)
class Stored:
    """A conversation in the database: its messages by seq, as the wire has them, and ``{turn: (state, attempt)}``."""

    seq: int
    messages: dict[int, dict]
    turns: dict[str, tuple[str, int]]


async def check(tenant, conversation: str, *doors: Door) -> None:
    """Raises AssertionError  with all that is wrong, if anything is."""
    stored = await run_for(tenant, load, UUID(conversation))
    found = faults(stored, doors)
    assert not found, "\n".join(found)


def load(conversation: UUID) -> Stored:
    """What the database holds; a synchronous verb of the tenant."""
    rows = Message.objects.filter(conversation_id=conversation).select_related("feedback").order_by("seq")
    turns = Turn.objects.filter(conversation_id=conversation)
    return Stored(
        Conversation.objects.get(pk=conversation).seq,
        {row.seq: reading.as_wire(row).model_dump(mode="json") for row in rows},
        {str(turn.pk): (turn.state, turn.attempt) for turn in turns},
    )


def faults(stored: Stored, doors) -> list[str]:
    """All that is lost, doubled, phantom or reordered, one line each."""
    found = [f"database: {fault}" for fault in _of_database(stored)]
    for door in doors:
        found += [f"{door.name}: {fault}" for fault in _of_door(stored, door)]
    return found


def _of_database(stored: Stored):
    """One question and at most one answer for each turn, and answers in the order of their questions."""
    questions = [message for message in stored.messages.values() if message["role"] == "user"]
    answers = {seq: message["turn"] for seq, message in stored.messages.items() if message["role"] == "agent"}
    for turn, count in Counter(answers.values()).items():
        if count > 1:
            yield f"doubled: {count} answers of turn {turn}"
    for client_id, count in Counter(message["client_id"] for message in questions).items():
        if count > 1:
            yield f"doubled: {count} questions {client_id}"
    for turn, (state, _) in stored.turns.items():
        if state == "done" and turn not in answers.values():
            yield f"lost: the answer of turn {turn}"
    asked = {message["turn"]: message["seq"] for message in questions}
    for turn in set(answers.values()) - set(asked):
        yield f"phantom: an answer of turn {turn}, which nobody asked for"
    for one, other in pairwise(turn for turn in answers.values() if turn in asked):
        if asked[one] > asked[other]:
            yield f"reordered: turn {other} was asked before {one} and answered after it"
    if stored.messages and max(stored.messages) > stored.seq:
        yield f"reordered: the counter stands at {stored.seq}"


def _of_door(stored: Stored, door: Door):
    known = _Texts()
    seen: set[int] = set()
    for number, connection in enumerate(door.connections, 1):
        for fault in _of_connection(stored, connection, seen, known, door.is_whole):
            yield f"{fault} (connection {number})"
    first = door.connections[0].hello.get("seq", 0) if door.connections else 0
    last = stored.seq if door.is_current else max(seen, default=0)
    for seq, message in stored.messages.items():
        if first < seq <= last and seq not in seen:
            yield f"lost: seq {seq} of {message['role']}"


def _of_connection(stored: Stored, connection: Connection, seen: set[int], known: "_Texts", is_whole: bool):
    """What is wrong in one connection; adds to what the door has seen and knows."""
    is_socket = any(event["type"] == "ready" for event in connection.events)
    streams = _Streams(stored, known, connection.hello.get("turn"), must_begin=is_socket)
    last, asked = 0, Counter(connection.asked)
    for event in connection.events:
        kind = event["type"]
        if kind == "accepted":
            seen.add(event["seq"])
            streams.begin(event["turn"])
            yield from _accepted(stored, event, asked)
        elif kind in SHOWN:
            if kind == "turn.finished":
                yield from streams.end(event, is_whole)
            if event["message"]:
                yield from _message(stored, event["message"])
                if event["seq"] <= last:
                    yield f"{'doubled' if event['seq'] == last else 'reordered'}: seq {event['seq']} after {last}"
                seen.add(event["seq"])
                last = event["seq"]
        elif kind == "history":
            yield from _list(stored, event["messages"], seen)
        elif "turn" in event and kind != "ready":
            yield from streams.take(event)


def _accepted(stored: Stored, event: dict, asked: Counter):
    """Each message that was sent is accepted once."""
    asked[event["id"]] -= 1
    if asked[event["id"]] < 0:
        yield f"doubled or phantom: seq {event['seq']} was accepted more often than it was sent"
    row = stored.messages.get(event["seq"])
    if row is None or (row["id"], row["client_id"], row["role"]) != (event["message"], event["id"], "user"):
        yield f"phantom: seq {event['seq']} was accepted and is not stored"
    elif event["turn"] and event["turn"] != row["turn"]:
        yield f"phantom: seq {event['seq']} was accepted as turn {event['turn']}, stored as {row['turn']}"


def _message(stored: Stored, message: dict):
    row = stored.messages.get(message["seq"])
    if row is None or row["id"] != message["id"]:
        yield f"phantom: seq {message['seq']} is not stored"
        return
    for name in ("role", "text", "turn", "client_id", "outcome", "author"):
        if message[name] != row[name]:
            yield f"phantom: {name} of seq {message['seq']} is {message[name]!r}, stored {row[name]!r}"


def _list(stored: Stored, messages: list[dict], seen: set[int]):
    """A list of messages is whole between its first and last."""
    numbers = [message["seq"] for message in messages]
    if numbers != sorted(set(numbers)):
        yield f"reordered: a list of seq {numbers}"
    for message in messages:
        yield from _message(stored, message)
    missing = [seq for seq in stored.messages if numbers and numbers[0] < seq < numbers[-1] and seq not in numbers]
    for seq in missing:
        yield f"lost: seq {seq} in a list"
    seen.update(numbers)


class _Texts(dict):
    """``{(turn, attempt): {n: the text up to event n}}`` as a door knows it."""

    def up_to(self, turn: str, attempt: int, n: int) -> str | None:
        """None: it cannot know."""
        return self.get((turn, attempt), {}).get(n, None if n else "")


class _Streams:
    """The numbered events of the turns in one connection."""

    def __init__(self, stored: Stored, known: _Texts, cursor: dict | None, *, must_begin: bool):
        self.stored, self.known, self.must_begin = stored, known, must_begin
        self.begun: set[str] = set()
        self.ended: set[str] = set()
        self.at: dict[str, tuple[int, int]] = {}  # (attempt, n) by turn
        self.text: dict[str, str | None] = {}
        if cursor:
            turn, attempt, n = str(cursor["turn"]), cursor["attempt"], cursor["n"]
            self.at[turn], self.text[turn] = (attempt, n), known.up_to(turn, attempt, n)

    def begin(self, turn: str) -> None:
        """Its question was accepted; if that was sent again, the answer may come again, too."""
        if turn in self.ended:
            self.begun.discard(turn)
            self.ended.discard(turn)

    def take(self, event: dict):
        """``turn.started``, ``delta`` and their like."""
        turn = event["turn"]
        if turn not in self.stored.turns:
            yield f"phantom: turn {turn}"
        if turn in self.ended:
            yield f"reordered: {event['type']} of turn {turn} after its end"
        if event["type"] == "turn.started":
            if turn in self.begun:
                yield f"doubled: the beginning of turn {turn}"
            self.begun.add(turn)
            return
        if self.must_begin and turn not in self.begun:
            yield f"lost: the beginning of turn {turn}"
            self.begun.add(turn)
        yield from self._advance(turn, event["attempt"], event["n"])
        if event["type"] == "delta" and self.text.get(turn) is not None:
            self.text[turn] += event["text"]
        self.known.setdefault((turn, event["attempt"]), {})[event["n"]] = self.text.get(turn)

    def _advance(self, turn: str, attempt: int, n: int):
        before, last = self.at.get(turn, (0, 0))
        if attempt != before:
            self.text[turn], last = "", 0
        if attempt < before or n < last:
            yield f"reordered: {attempt}-{n} of turn {turn} after {before}-{last}"
        elif n == last:
            yield f"doubled: {attempt}-{n} of turn {turn}"
        self.at[turn] = (attempt, n)

    def end(self, event: dict, is_whole: bool):
        """It ends once, as it is stored; what streamed is the beginning of what was stored."""
        turn = event["turn"]
        state, attempt = self.stored.turns.get(turn, ("missing", 0))
        if state != event["outcome"]:
            yield f"phantom: turn {turn} ended as {event['outcome']}, stored {state}"
        if turn in self.ended:
            yield f"doubled: the end of turn {turn}"
        self.ended.add(turn)
        shown, text = self.text.get(turn), (event["message"] or {}).get("text", "")
        if shown is None or self.at[turn][0] != attempt or not event["message"]:
            return
        if not text.startswith(shown):
            yield f"lost, doubled or reordered: turn {turn} streamed another text than is stored"
        elif is_whole and shown != text:
            yield f"lost: the last {len(text) - len(shown)} characters of turn {turn} did not stream"
