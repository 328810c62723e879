"""Requests, tasks and socket frames of three tenants in random order while one of them moves: no row is ever wrong."""

import asyncio
import logging
import random
import re
import threading
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from celery import current_app
from django.db import connections

from agents.conversations.models import Conversation, EndUser, Message
from branding.models import Branding
from tenants import databases, lifecycle, provisioning
from tenants.accounts import keys
from tenants.context import TenantRef, act_for, acting_for, acting_for_platform, run_for
from tenants.errors import TenantUnavailable
from tenants.ids import uuid7
from tenants.models import Move, role_name
from tenants.moves import copying, orders, running
from tenants.tasks import HEADER, TenantTask
from tests.agents.chatting import Browser
from tests.conftest import FULL, host_of
from tests.isolation.conftest import drop_dedicated
from tests.processes import NO_TLS
from tests.tenants.moving import any_shared
from tests.threads import Threads

logger = logging.getLogger(__name__)
INTERLEAVINGS = 200 if FULL else 2
THREADS, UNITS = 3, 6
TABLES = {
    "conversations_enduser": EndUser,
    "conversations_conversation": Conversation,
    "conversations_message": Message,
}


@dataclass
class House:
    """A tenant, the token that all its rows carry, and what it was told is stored."""

    tenant: TenantRef
    key: str
    twin: UUID
    port: int
    token: str = field(default_factory=lambda: uuid4().hex)
    people: list[str] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    later: int = 0  # how often it was asked to come again

    def request(self, method: str, path: str, **kwargs) -> httpx.Response | None:
        """The answer of the web process; None where it asks to come again."""
        headers = {"host": f"{host_of(self.tenant)}:{self.port}", "authorization": f"Bearer {self.key}"}
        url = f"http://127.0.0.1:{self.port}{path}"
        options = {"timeout": 30, "follow_redirects": False, "verify": NO_TLS}
        response = httpx.request(method, url, headers=headers, **options, **kwargs)
        if response.status_code in (302, 503):
            self.later += 1
            return None
        assert response.status_code < 300, (response.status_code, response.text[:300])
        return response


class _Note(TenantTask):
    """A task that writes a row for whoever it runs for."""

    name = "tests.isolation.note"

    def run(self, *, text: str) -> None:
        EndUser.objects.create(secret_hash=text)


def page(house: House, houses: list[House]) -> list[str]:
    """A visitor's page shows the brand."""
    response = house.request("GET", "/chat/")
    return wrong_in(response.text, house, houses) if response else []


def program(house: House, houses: list[House]) -> list[str]:
    """A program starts a conversation."""
    response = house.request("POST", "/api/v1/conversations/", json={"end_user": uuid4().hex})
    if response:
        house.conversations.append(response.json()["id"])
    return []


def task(house: House, houses: list[House]) -> list[str]:
    """A worker writes a row."""
    text = f"{house.token}{uuid4().hex[:16]}"
    note = _Note()
    note.bind(current_app._get_current_object())
    note.push_request(**{HEADER: house.tenant.id})
    try:
        note(text=text)
        house.people.append(text)
    except TenantUnavailable:
        house.later += 1
    finally:
        note.pop_request()
    return []


def reading(house: House, houses: list[House]) -> list[str]:
    """Async code reads the row whose key all three have."""
    try:
        found = asyncio.run(run_for(house.tenant, lambda: EndUser.objects.get(pk=house.twin).secret_hash))
    except TenantUnavailable:
        house.later += 1
        return []
    return [] if found == house.token else [found]


def frames(house: House, houses: list[House]) -> list[str]:
    """A visitor says something and reads the answer."""

    async def chat() -> list[str]:
        text, browser = f"{house.token} {uuid4().hex}", Browser(house.tenant, house.port)
        shown = await browser.request("GET", "/chat/")
        if shown.status_code != 200:  # the process remembered the old place
            house.later += 1
            return []
        ticket = re.search(r'data-ticket="([^"]+)"', shown.text)[1]
        async with browser.socket(say_hello=False) as socket:
            await socket.send({"type": "hello", "ticket": ticket})
            await socket.ask(text)
            while (event := await socket.next())["type"] not in ("turn.finished", "error"):
                if event["type"] == "accepted":
                    house.said.append(text)
        if event["type"] == "error":
            house.later += 1
        return wrong_in(repr(socket.events), house, houses, own=False)

    return asyncio.run(chat())


DOORS = (page, program, task, reading, frames)


def wrong_in(text: str, house: House, houses: list[House], *, own: bool = True) -> list[str]:
    """Tokens of others, and the own one where it is missing."""
    found = [
        f"{other.tenant.slug} at {house.tenant.slug}" for other in houses if other != house and other.token in text
    ]
    return found + ([f"not {house.tenant.slug}"] if own and house.token not in text else [])


@pytest.fixture
def houses(server, _database):
    twin = uuid7()
    made = [_house(name, twin, server) for name in ("acme", "globex", "lonely")]
    yield made
    for connection in connections.all(initialized_only=True):
        connection.close()
    drop_dedicated(made[2].tenant)


def _house(name: str, twin: UUID, port: int) -> House:
    slug = f"{name}-{uuid4().hex[:8]}"
    tenant = provisioning.create(
        name=slug, slug=slug, vertical="healthcare", plan="enterprise", dedicated=name == "lonely", by="a test"
    ).ref()
    with acting_for(tenant):
        house = House(tenant, keys.create(name="A", scopes=list(keys.SCOPES), by="a test")[1], twin, port)
        EndUser.objects.create(id=twin, secret_hash=house.token)
        Branding.objects.update(name=house.token)
    return house


def work(houses: list[House], seed: int, moved: threading.Event) -> list[str]:
    """One thread's random units of work, at least until the move is over; what was wrong."""
    choice, wrong, done = random.Random(seed), [], 0
    while done < UNITS or not moved.is_set():
        wrong += choice.choice(DOORS)(choice.choice(houses), houses)
        done += 1
    return wrong


def move(tenant: TenantRef) -> Move:
    """To a database of its own, or back into a shared one."""
    with acting_for_platform("a test"):
        row = lifecycle.named(tenant.slug)
        target = None if row.database.kind == "shared" else any_shared()
        return running.run(orders.plan(row, target, by="a test"))


def written_after_the_fence(move: Move) -> int:
    """Rows of the old place that the new one has not; then the old place goes."""
    with acting_for_platform("a test"):
        move = orders.find(move.pk.hex)
        with psycopg.connect(databases.provision_address(move.source)) as old:
            copying.enter(old, move.old_schema, role_name(move.source.pk, move.tenant_id))
            kept = {table: {pk for (pk,) in old.execute(f"select id from {table}")} for table in TABLES}  # noqa: S608
        home = lifecycle.named(move.tenant.slug).ref()
        found = act_for(home, lambda: {t: set(m.objects.values_list("pk", flat=True)) for t, m in TABLES.items()})
        left = sum(len(kept[table] - found[table]) for table in TABLES)
        orders.finish(move)
    return left


def rows_not_of(house: House, houses: list[House]) -> list[str]:
    """Rows of the tenant that carry another's token, and what it was told is stored but is not."""
    others = [other.token for other in houses if other is not house]
    people = act_for(house.tenant, lambda: list(EndUser.objects.values_list("secret_hash", flat=True)))
    texts = act_for(house.tenant, lambda: [row.text for row in Message.objects.filter(role=Message.Role.USER)])
    conversations = act_for(house.tenant, lambda: {str(pk) for pk in Conversation.objects.values_list("pk", flat=True)})
    foreign = [text for text in (*people, *texts) if any(token in text for token in others)]
    lost = (
        (set(house.people) - set(people)) | (set(house.said) - set(texts)) | (set(house.conversations) - conversations)
    )
    return foreign + sorted(lost)


def test_a_connection_kept_through_two_moves_works_for_the_tenant_that_came_back(acme):
    for _ in range(2):
        with acting_for(acme):
            EndUser.objects.create(secret_hash=uuid4().hex)
        written_after_the_fence(move(acme))
    assert act_for(acme, EndUser.objects.count) == 2


@pytest.mark.mass
@pytest.mark.timeout(1_800)
def test_a10_a15_in_random_interleavings_during_moves_no_row_is_wrong_and_none_is_left_behind(houses):
    wrong, behind = [], 0
    with Threads(THREADS) as threads:
        for number in range(INTERLEAVINGS):
            moved = threading.Event()
            working = [threads.submit(work, houses, number * THREADS + one, moved) for one in range(THREADS)]
            try:
                done = move(houses[0].tenant)
            finally:
                moved.set()
            wrong += [words for one in working for words in one.result()]
            behind += written_after_the_fence(done)
    assert [words for house in houses for words in rows_not_of(house, houses)] + wrong == []
    assert behind == 0
    stored = sum(len(house.people) + len(house.said) + len(house.conversations) for house in houses)
    assert stored > INTERLEAVINGS * THREADS
    logger.info("%d rows stored, %d units asked to come again", stored, sum(house.later for house in houses))
