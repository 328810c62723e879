"""Takes a question: stores it, owns the turn that will answer it, and launches that."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from uuid import UUID

from django.db import OperationalError

from agents import publishing
from agents.conversations import opening, reading
from agents.conversations.errors import Crowded, NotStored
from agents.conversations.records import Opened
from agents.conversations.visitors import Visitor
from agents.models import AgentVersion
from agents.turns import admission, engine, lease, patience, running
from platform_site.errors import PlatformError
from tenants.context import TenantRef, current
from tenants.ids import uuid7

logger = logging.getLogger(__name__)
RETRY_SECONDS = 5


def open_turn(
    *,
    conversation: UUID,
    visitor: Visitor,
    client_id: UUID,
    text: str,
    channel: str = "page",
    version: AgentVersion | None = None,
    begun: bool = True,
) -> Opened:
    """Store the question and own its turn (a synchronous verb). The same ``client_id`` again gives the same turn.

    version  that answers; what customers meet unless given
    begun    a guess whether the conversation is there; a wrong one costs a round trip, nothing else
    Raises   MessageTooLong, EmptyMessage, NoConversation, ConversationClosed, TooManyWaiting, Crowded; nothing is
             stored then
    """
    text = opening.checked_text(text)
    version = version or publishing.live_version()
    if admission.is_full(current().id) and not reading.needs_no_place(conversation, visitor, client_id):
        raise Crowded(retry_after=admission.RETRY_SECONDS)
    turn = uuid7()
    member = lease.member_of(current().id, turn, 1)
    with _claimed(member):
        opened = opening.open_turn(
            turn=turn, conversation=conversation, visitor=visitor, client_id=client_id, text=text, version=version,
            channel=channel, begun=begun,
        )  # fmt: skip
    if not opened.new or opened.state != "agent":
        lease.drop(member)
    return opened


@contextmanager
def _claimed(member: str) -> Iterator[None]:
    """A turn is stored inside, claimed and held: until its launch its lease is renewed, however long that takes."""
    lease.hold(member)
    try:
        with lease.claiming(member):
            yield
    except PlatformError:
        lease.drop(member)
        raise
    except BaseException:  # it may be stored all the same: the claim lapses, and whoever sweeps looks
        lease.let_go(member)
        raise


async def start(tenant: TenantRef, **question) -> Opened:
    """``open_turn`` of the default agent and the task that answers; a dropped socket cannot cut them in two.

    Raises  what ``open_turn`` does, and NotPublished, NotStored
    """
    opening.checked_text(question["text"])
    starting = asyncio.create_task(_start(tenant, question))
    starting.add_done_callback(_note_failure)
    return await asyncio.shield(starting)


def _note_failure(starting: asyncio.Task) -> None:
    """Its sender may have gone: then nobody else hears of it. A refusal interests nobody but them."""
    error = None if starting.cancelled() else starting.exception()
    if error and not isinstance(error, PlatformError):
        logger.error("question not taken", exc_info=error)


async def _start(tenant: TenantRef, question: dict) -> Opened:
    is_next = admission.has_room(tenant.id) and not running.is_answered(tenant, question["conversation"])
    begin_search = cache(engine.begin_search) if is_next else None  # once, however often storing is tried
    opened, ahead = await _stored(tenant, partial(_open, begin_search, **question))
    if opened.new and opened.state == "agent":
        running.launch(tenant, opened, ahead)
    return opened


def _open(begin_search: Callable | None, **question) -> tuple[Opened, engine.Ahead]:
    """``open_turn``, and what its answer needs, unless it has to wait.

    The passages are looked for while the question is being stored.
    begin_search  None: the answer waits for others
    """
    version = publishing.live_version()
    search = begin_search(question["text"], version) if begin_search else None
    opened = open_turn(version=version, **question)
    if not (begin_search and opened.new and opened.state == "agent") or opened.behind:
        return opened, None
    try:
        return opened, engine.prepare(opened, version, search)
    except Exception as error:  # noqa: BLE001  whatever it is: the question is stored, and must not seem not to be.
        # Its turn prepares again, and tells or logs what it meets
        logger.info("not prepared", extra={"turn": str(opened.turn), "error": type(error).__name__})
        return opened, search


async def _stored(tenant: TenantRef, verb: Callable) -> tuple[Opened, engine.Ahead]:
    """The verb's result. Tried for some seconds: pools that have lost their server look for it now and then."""
    try:
        return await patience.run(tenant, verb, seconds=patience.OPENING_SECONDS)
    except OperationalError as error:
        logger.warning("question not stored", extra={"error": type(error.__cause__).__name__})
        raise NotStored(retry_after=RETRY_SECONDS) from error
