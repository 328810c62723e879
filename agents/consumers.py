"""The end users' door: frames in, events out. No work lives in the socket; a turn outlives it."""

import asyncio
import logging
from uuid import UUID

from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError, OperationalError
from redis.exceptions import RedisError
from uvicorn.protocols.utils import ClientDisconnected

from agents import joining, moving, open_sockets, places, turns, wire
from agents.conversations import reading, recording, visitors
from agents.conversations.visitors import Visitor
from agents.errors import TooFast, TooManySockets
from agents.heard import Heard
from agents.others import Others
from platform_site.errors import PlatformError, TemporaryFailure
from platform_site.jitter import about
from platform_site.pace import Pace
from tenants import lifecycle
from tenants.context import TenantRef, acting_for, run_for
from tenants.errors import TenantPaused

logger = logging.getLogger(__name__)

FAULTS_ALLOWED = 3
CLOSE_FAULTS, CLOSE_SILENT, CLOSE_PAUSED, CLOSE_CROWDED, CLOSE_TOO_LARGE = 4400, 4408, 4423, 4429, 1009
CLOSE_AGAIN = 1012
RETRY_SECONDS, FRAME_BYTES = 1, 65_536
LOOK_BACK_SECONDS = 2  # about, for many do at once; until then the first answer has the database to itself
LATE_SECONDS = 2  # after which the end of an answer is told without its last words
# The turn's thread gets the interpreter before we go on: it has further to go than "accepted", which nobody waits for
TURN_FIRST_SECONDS = 0.001
CLOSING, LOOKING_BACK = NO_TURNS = UUID(int=0), UUID(int=1)  # what a socket does besides bringing answers
SAYING = wire.Message | wire.RequestHuman | wire.Feedback  # what a person does, and what costs us something


class ChatConsumer(AsyncWebsocketConsumer):
    """One end user's socket."""

    async def connect(self):
        self.tenant: TenantRef = self.scope["tenant"]
        self.visitor: Visitor | None = None
        self.conversation: UUID | None = None
        self.begun = False  # the conversation's row is there, and this visitor's
        self.faults = 0
        self.heard = Heard()
        self.pumps: dict[UUID, asyncio.Task] = {}
        self.others = Others(self.tenant, self.channel_layer, self.channel_name)
        self.missed = asyncio.Event()  # others may have said something of which no hint has come
        self.messages = Pace(settings.SOCKET_MESSAGES, settings.SOCKET_WINDOW_SECONDS)
        self.frames = Pace(settings.SOCKET_FRAMES, settings.SOCKET_WINDOW_SECONDS)
        try:
            self.place = await places.claim(self.tenant, (self.scope.get("client") or [""])[0])
        except TooManySockets as error:
            await self._turn_away(error)
            return
        open_sockets.enter(self.tenant.id, self)
        self.silence = asyncio.get_running_loop().call_later(settings.HELLO_SECONDS, self._close_silent)
        await self.accept()

    async def _turn_away(self, error: TooManySockets):
        """Accepted all the same: a page cannot read why a handshake was refused."""
        await self.accept()
        await self._answer(wire.Error(code=error.code, text=str(error), retry_after=error.details["retry_after"]))
        await self.close(CLOSE_CROWDED)

    async def dispatch(self, message):
        """Channels' own waits for a thread here, to close what verbs without `run_for` left open; there are none."""
        await getattr(self, get_handler_name(message))(message)

    def _close_silent(self):
        self.pumps[CLOSING] = asyncio.create_task(self.close(CLOSE_SILENT))

    async def __call__(self, scope, receive, send):
        self.place: places.Place | None = None
        try:
            await super().__call__(scope, receive, send)
        finally:  # not in `disconnect`, which is not called for a client that goes while it is being answered
            if self.place is not None:
                await self._leave()

    async def _leave(self):
        open_sockets.leave(self.tenant.id, self)
        self.silence.cancel()
        for pump in self.pumps.values():
            pump.cancel()
        await places.leave(self.place)
        await self.others.leave()

    async def receive(self, text_data=None, bytes_data=None):
        while wait := self.frames.take():
            await asyncio.sleep(wait)  # the server reads no more of this socket meanwhile
        frame = None
        try:
            frame = self._parsed(text_data, bytes_data)
            await self._obey(frame)
        except wire.BadFrame as error:
            await self._fault(error)
        except TenantPaused as error:
            await self.pause(error)
        except PlatformError as error:
            about, wait = error.details.get("id", wire.thumb_of(frame)), error.details.get("retry_after")
            await self._answer(wire.Error(code=error.code, text=str(error), id=about, retry_after=wait))
        except (OperationalError, RedisError) as error:
            logger.warning("frame not obeyed", extra={"error": type(error.__cause__ or error).__name__})
            code, text = TemporaryFailure.code, TemporaryFailure.text
            await self._answer(wire.Error(code=code, text=text, id=wire.thumb_of(frame), retry_after=RETRY_SECONDS))
        except ClientDisconnected:  # what it asked for is done, and the server ends this call without a word
            raise
        except Exception:  # the outermost frame of this door
            logger.exception("frame failed", extra={"conversation": str(self.conversation)})
            text = "Something went wrong on our side."
            await self._answer(wire.Error(code="internal_error", text=text, id=wire.thumb_of(frame)))

    async def pause(self, error: TenantPaused):
        """The tenant is paused: say so and close. A running answer is stored, and seen when the tenant goes on."""
        await self._answer(wire.Error(code=error.code, text=str(error), retry_after=error.details["retry_after"]))
        await self.close(CLOSE_PAUSED)

    async def websocket_leaving(self, message):
        """This process is about to end. Who is being answered gets the text until a socket elsewhere takes over."""
        if self.visitor:
            place, self.place = self.place, ()  # so that it is given back once
            await places.leave(place)  # it may have been the last that there is, and is needed elsewhere
            with acting_for(self.tenant):
                ticket = visitors.ticket_for(self.visitor)
            await self._answer(wire.Leaving(ticket=ticket))
        if not self._is_telling():
            await self.close(CLOSE_AGAIN)

    def _parsed(self, text: str | None, data: bytes | None) -> wire.Frame:
        if text is None:
            raise wire.BadFrame("frame: send JSON text, not bytes")
        if len(text) > FRAME_BYTES:
            raise wire.BadFrame(f"frame: at most {FRAME_BYTES} bytes")
        frame = wire.parse_frame(text)
        if (self.visitor is None) != isinstance(frame, wire.Hello):
            raise wire.BadFrame("type: say hello first, and only once")
        return frame

    async def _fault(self, error: wire.BadFrame):
        self.faults += 1
        await self._answer(wire.Error(code=error.code, text=str(error)))
        if self.faults >= FAULTS_ALLOWED:
            await self.close(CLOSE_FAULTS)

    async def _obey(self, frame: wire.Frame):
        if isinstance(frame, SAYING) and (wait := self.messages.take()):
            raise TooFast(retry_after=round(wait, 1), id=getattr(frame, "id", wire.thumb_of(frame)))
        match frame:
            case wire.Hello():
                await self._join(frame)
            case wire.Message():
                await self._ask(frame)
            case wire.Stop():
                await turns.stop(self.tenant, await self._own(), frame.turn)
            case wire.Feedback():
                await self._run(recording.give_feedback, await self._own(), frame.message, frame.value)
            case wire.RequestHuman():
                await self._ask_for_human()
            case wire.History():
                page = {"before": frame.before, "limit": frame.limit}
                messages, more = await self._run(reading.newest, await self._own(), **page)
                await self._answer(wire.HistoryEvent(messages=messages, more=more))
            case wire.Typing() | wire.Read():
                pass  # hints for staff, who have no inbox to see them in yet

    async def _run(self, verb, *args, **kwargs):
        return await run_for(self.tenant, verb, *args, **kwargs)

    # --- hello

    async def _join(self, frame: wire.Hello):
        lifecycle.refuse_if_paused(self.tenant)
        joined = await self._run(joining.join, frame, cookies=self.scope.get("cookies") or {})
        self.silence.cancel()
        self.visitor, self.conversation, self.heard.whole = joined.visitor, joined.conversation, joined.ready.seq
        if joined.begun:
            await self._begin()
        await self._answer(joined.ready, *joined.missed)
        for cursor in joined.running:
            self._follow(cursor)

    async def _own(self) -> UUID:
        """The conversation, if it is theirs: until its first message anybody can name its id. Raises NoConversation."""
        if not self.begun:
            await self._run(reading.owned, self.conversation, self.visitor)
            await self._begin()
        return self.conversation

    async def _begin(self, *, alone: bool = False):
        """alone: this socket has begun the conversation, so no other is in it yet."""
        if not self.begun:
            self.begun = True
            entered = await self.others.enter(self.conversation, alone=alone)
            self.missed.set()
            self.pumps[LOOKING_BACK] = asyncio.create_task(self._look_back(entered))

    async def _look_back(self, entered: bool):
        """Of what others said before it had entered the group, and while Valkey was away, a socket has not heard."""
        while not entered:
            await asyncio.sleep(about(LOOK_BACK_SECONDS))
            entered = await self.others.enter(self.conversation)
        await self.others.say(news=False)  # here, so that a page's hello does not wait for Valkey
        while await self.missed.wait():
            await asyncio.sleep(about(LOOK_BACK_SECONDS))
            if not await self.others.say(news=False):  # one that was about to enter has not heard the first
                continue  # still missed: it is said again
            self.missed.clear()
            try:
                if await self._run(reading.newest_seq, self.conversation) > self.heard.whole:
                    await self._catch_up()
            except OSError:
                return  # this socket has gone
            except (DatabaseError, PlatformError) as error:  # its database is away, or it is being moved
                logger.warning("not looked back", extra={"error": type(error).__name__})
                self.missed.set()
            except Exception:  # the outermost frame of a task nobody awaits, and the next look may succeed
                logger.exception("not looked back")
                self.missed.set()

    # --- message

    async def _ask(self, frame: wire.Message):
        try:
            starting = turns.start(
                self.tenant,
                conversation=self.conversation, visitor=self.visitor, client_id=frame.id, text=frame.text,
                begun=self.begun,
            )  # fmt: skip
            opened = await moving.patiently(starting, self.tenant, self._answer)
        except PlatformError as error:
            error.details["id"] = frame.id  # so that the page knows which text to give back
            raise
        self.heard.note(opened.seq)
        self.heard.ended.discard(opened.turn)  # whoever sends a message again is told again what came of it
        await asyncio.sleep(TURN_FIRST_SECONDS)
        accepted = wire.Accepted(
            seq=opened.seq, id=opened.client_id, message=opened.message, created_at=opened.created_at,
            turn=opened.turn if opened.state == "agent" else None,
        )  # fmt: skip
        if opened.state == "agent" and opened.turn not in self.pumps:
            cursor = wire.Cursor(turn=opened.turn, attempt=opened.attempt, n=0)
            await self._answer(accepted, self._started(cursor))
            self._follow(cursor, is_announced=True)
        else:
            await self._answer(accepted)
        is_first = opened.new and opened.seq == 1
        await self._begin(alone=is_first)
        await self.others.say()
        if opened.seq > self.heard.whole:
            await self._catch_up()

    async def _ask_for_human(self):
        if not self.begun:
            await self._run(joining.begin, self.conversation, self.visitor)
            await self._begin()
        event = await self._run(recording.request_human, self.conversation)
        await self._answer(event)

    async def conversation_changed(self, hint):
        """Another socket of this conversation is there, or something was said at it: show that here, too."""
        if not await self.others.take(hint):
            return
        try:
            await self._catch_up()
        except OperationalError:  # the page comes back by itself, and hears what it has missed
            await self.close(CLOSE_AGAIN)

    async def hints_missed(self, _):
        """Valkey was away, and what others said meanwhile went nowhere. All sockets hear of it at once."""
        self.others.may_have_entered()
        self.missed.set()

    async def _catch_up(self, *, before: int | None = None):
        """Send what other sockets have brought about and this one has not heard, and follow the turns they began.

        before  only what comes before this seq, for an event that is about to be sent
        """
        standing = await self._run(reading.standing, self.conversation, after=self.heard.whole)
        before = before or standing.seq + 1
        for event in standing.missed:
            if event.seq >= before:
                break
            if isinstance(event, wire.TurnFinished) and event.turn in self.pumps:  # it is told in its place, soon
                await asyncio.wait({self.pumps[event.turn]}, timeout=LATE_SECONDS)
            if self.heard.is_news(event):
                await self._answer(event)
        self.heard.note(*range(self.heard.whole + 1, before))  # what is not among them was no message
        for cursor in standing.running:
            self._follow(cursor)

    # --- answers

    def _started(self, cursor: wire.Cursor) -> wire.TurnStarted:
        return wire.TurnStarted(seq=self.heard.whole, turn=cursor.turn, attempt=cursor.attempt)

    def _follow(self, cursor: wire.Cursor, *, is_announced: bool = False):
        if cursor.turn not in self.pumps and cursor.turn not in self.heard.ended:
            self.pumps[cursor.turn] = asyncio.create_task(self._pump(cursor, is_announced))

    def _is_telling(self) -> bool:
        """Whether it is sent an answer at the moment."""
        return any(turn not in NO_TURNS for turn in self.pumps)

    async def _pump(self, cursor: wire.Cursor, is_announced: bool):
        """Send what happens in one turn, as one frame each time there is something."""
        try:
            if not is_announced:
                await self._answer(self._started(cursor))
            following = turns.follow(self.tenant, self.conversation, cursor, is_running=not is_announced)
            async for events in following:
                if cursor.turn in self.heard.ended:
                    break  # the database said so first
                if isinstance(events[-1], wire.TurnFinished) and events[-1].seq > self.heard.whole + 1:
                    await self._catch_up(before=events[-1].seq)
                await self._answer(*filter(self.heard.is_news, events))
        except OSError:
            pass  # this socket has gone; the turn goes on
        except Exception:  # the outermost frame of a task nobody awaits
            logger.exception("pump failed", extra={"turn": str(cursor.turn)})
        finally:
            self.pumps.pop(cursor.turn, None)

    async def _answer(self, *events):
        self.heard.take(events)
        if events:
            await self.send(text_data=wire.server_frame(list(events)))
