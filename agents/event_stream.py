"""A turn as server-sent events: ``event`` the type, ``data`` the event of agents/wire.py, ``id`` turn:attempt:n."""

from collections.abc import AsyncIterator
from uuid import UUID

from django.http import StreamingHttpResponse

from agents import turns, wire
from agents.conversations.records import Opened
from platform_site.errors import BadInput
from tenants.context import TenantRef

MEDIA_TYPE = "text/event-stream"


def response(tenant: TenantRef, opened: Opened, seen: wire.Cursor | None) -> StreamingHttpResponse:
    """The events of a turn after ``seen``; all of them, if it belongs to another turn."""
    return StreamingHttpResponse(_events(tenant, opened, seen), content_type=MEDIA_TYPE)


def seen(last_event: str | None, message: UUID | None) -> wire.Cursor | None:
    """How far a client had come before its stream broke off. Raises BadInput."""
    if not last_event:
        return None
    if message is None:  # it would become another message
        raise BadInput("Last-Event-ID: send the id of the message again, too.")
    try:
        turn, attempt, n = last_event.split(":")
        return wire.Cursor(turn=turn, attempt=attempt, n=n)
    except ValueError:
        raise BadInput("Last-Event-ID: this is no id of our events.") from None


def followed(tenant: TenantRef, opened: Opened, cursor: wire.Cursor | None = None) -> AsyncIterator[list]:
    """Lists of events of a turn, which runs from now on if it is new."""
    if opened.new and opened.state == "agent":
        turns.launch(tenant, opened)
    start = wire.Cursor(turn=opened.turn, attempt=opened.attempt, n=0)
    return turns.follow(tenant, opened.conversation, cursor or start)


async def _events(tenant: TenantRef, opened: Opened, seen: wire.Cursor | None) -> AsyncIterator[str]:
    cursor = seen if seen and seen.turn == opened.turn else None
    if cursor is None:
        yield _block(wire.Accepted(
            seq=opened.seq, id=opened.client_id, message=opened.message, turn=opened.turn, created_at=opened.created_at
        ))  # fmt: skip
    async for events in followed(tenant, opened, cursor):
        yield "".join(_block(event) for event in events)


def _block(event) -> str:
    number = f"{event.turn}:{event.attempt}:{event.n}" if isinstance(event, wire.NUMBERED) else ""
    identifier = f"id: {number}\n" if number else ""
    return f"event: {event.type}\n{identifier}data: {wire.as_json(event).decode()}\n\n"
