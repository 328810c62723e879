"""What the series of tests/load/kills.py have in common: visitors who measure, and a look at what was stored."""

import os
import statistics
import time
from contextlib import ExitStack

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from agents.conversations.models import Message, Turn  # noqa: E402
from metering.outbox.models import UsageEvent  # noqa: E402
from tenants.context import run_for  # noqa: E402
from tests.agents.chatting import Chat  # noqa: E402
from tests.conftest import web_process  # noqa: E402
from tests.faults.restless import Restless, Seen  # noqa: E402

QUESTION = "[[tokens=150]][[gap=0.02]]"
MOST_EVENTS = 60  # of one socket, before it drops


class Timed(Restless):
    """A visitor who notes the longest silence of an answer after something was killed."""

    hit_at = 0.0
    silence = 0.0
    _heard = _place_heard = None

    def hit(self) -> None:
        """Something is being killed now."""
        self.hit_at, self.silence = time.monotonic(), 0.0

    def took(self, seen: Seen, chat: Chat) -> None:
        place = seen.turn, seen.attempt, seen.n, bool(seen.finished)
        if place == self._place_heard:
            return
        now = time.monotonic()
        if self.hit_at:
            self.silence = max(self.silence, now - max(self.hit_at, self._heard or 0))
        self._heard, self._place_heard = now, place


class Moving(Timed):
    """A visitor who notes it until new text comes over another socket.

    gap    seconds from the last text before; None: it has not come
    usual  seconds between any two pieces of text before the hit
    """

    gap: float | None = None
    _sockets = 0

    def __init__(self, tenant, ports: list[int]):
        super().__init__(tenant, ports)
        self.usual: list[float] = []

    def hit(self) -> None:
        super().hit()
        self._sockets = len(self.chats)

    def took(self, seen: Seen, chat: Chat) -> None:
        if self.gap is not None:
            return
        before = self._heard
        super().took(seen, chat)
        if before is None or self._heard == before:
            return
        if not self.hit_at:
            self.usual.append(self._heard - before)
        elif chat in self.chats[self._sockets :]:
            self.gap = self._heard - before


class Series:
    """Faults of one kind, and what the visitors saw."""

    def __init__(self, tenant, name: str):
        self.tenant, self.name = tenant, name
        self.seen: list[Seen] = []
        self.silences: list[float] = []
        self.began = time.monotonic()

    async def answered(self, visitor: Timed, text: str = QUESTION, *, most_events: int = MOST_EVENTS) -> None:
        """One question of a visitor, to its end."""
        self.seen.append(await visitor.ask(text, most_events=most_events))
        if visitor.hit_at:
            self.silences.append(visitor.silence)
            visitor.hit_at = 0.0

    async def ended(self, count: int) -> list[str]:
        """Print the figures; what is wrong."""
        if not self.seen:
            return []
        wrong, again = await run_for(self.tenant, wrong_of, self.seen)
        took = time.monotonic() - self.began
        print(
            f"{count} × {self.name}, {took:.0f} s: {len(self.seen)} answers, {again} begun again; "
            f"lost, doubled or wrong: {len(wrong)}{self._silences()}",
            flush=True,
        )
        return [f"{self.name}: {one}" for one in wrong]

    def _silences(self) -> str:
        if not self.silences:
            return ""
        return f"; time to new text of {len(self.silences)} that were hit: {spread(self.silences)}"


def spread(seconds: list[float]) -> str:
    """The middle and the worst of them, in words."""
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    return f"median {statistics.median(seconds):.2f} s, p99 {p99:.2f} s, most {max(seconds):.2f} s"


def wrong_of(seen: list[Seen]) -> tuple[list[str], int]:
    """What is not as it should be, and how many of the answers were begun again."""
    rows = Turn.objects.in_bulk([one.turn for one in seen])
    texts: dict[str, list[str]] = {}
    for message in Message.objects.filter(turn_id__in=rows, role="agent"):
        texts.setdefault(str(message.turn_id), []).append(message.text)
    uses: dict[str, list[int]] = {}
    for event in UsageEvent.objects.all():
        uses.setdefault(event.payload["turn_id"], []).append(event.payload["attempt"])
    wrong = []
    for one in seen:
        row = next((row for key, row in rows.items() if str(key) == one.turn), None)
        state, attempt = (row.state, row.attempt) if row else ("lost", 0)
        said, used = texts.get(one.turn, []), sorted(uses.get(one.turn, []))
        if one.faults or state != "done" or said != [one.text] or used != list(range(1, attempt + 1)):
            wrong.append(f"{one.turn} {one.faults} {state}, attempt {attempt}, usage of {used}, {len(said)} texts")
    return wrong, sum(row.attempt > 1 for row in rows.values())


def started(stack: ExitStack, provider) -> int:
    """The port of one more web process."""
    model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in"}
    return stack.enter_context(web_process(TURN_CAP="200", SOCKETS_PER_ADDRESS="1000", **model))
