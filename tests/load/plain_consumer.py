"""A chat as tutorials show it, to compare with: a Channels consumer that calls the ORM row by row and litellm chunk by
chunk. ``uvicorn tests.load.plain_consumer:application``; PLAIN_TENANT says whose tables, PLAIN_MESSAGES what is asked.

It stores question and answer and nothing else: no limits, no usage, no search, no resuming.
"""

import json
import os
from uuid import UUID, uuid4

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from django.core.asgi import get_asgi_application  # noqa: E402

get_asgi_application()

import litellm  # noqa: E402
from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from agents.conversations.models import Conversation, EndUser, Message  # noqa: E402
from tenants import directory  # noqa: E402
from tenants.context import act_for  # noqa: E402

MESSAGES = json.loads(os.environ["PLAIN_MESSAGES"])


class PlainConsumer(AsyncJsonWebsocketConsumer):
    """One socket, one conversation; an answer lives as long as the socket."""

    async def connect(self):
        await self.accept()
        self.conversation = await self._stored(_begin)

    async def receive_json(self, content):
        await self._stored(_say, self.conversation, 1, "user", content["text"])
        history = await self._stored(_history, self.conversation)
        text = ""
        stream = await litellm.acompletion(
            model=settings.DEFAULT_MODEL, api_base=settings.OPENAI_BASE_URL, api_key=settings.OPENAI_API_KEY,
            messages=[*MESSAGES, *history, {"role": "user", "content": content["text"]}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        async for chunk in stream:
            if chunk.choices and (delta := chunk.choices[0].delta.content):
                text += delta
                await self.send_json({"delta": delta})
        await self._stored(_say, self.conversation, 2, "agent", text)
        await self.send_json({"finished": True})

    async def _stored(self, verb, *args):
        return await database_sync_to_async(_for_the_tenant)(verb, *args)


def _for_the_tenant(verb, *args):
    return act_for(directory.by_id(int(os.environ["PLAIN_TENANT"])), verb, *args)


def _begin() -> UUID:
    visitor = EndUser.objects.create(secret_hash=uuid4().hex)
    return Conversation.objects.create(end_user=visitor, agent_id=uuid4(), version_id=uuid4(), channel="test").pk


def _say(conversation: UUID, seq: int, role: str, text: str) -> None:
    row = Conversation.objects.get(pk=conversation)
    row.seq += 1
    row.save()
    Message.objects.create(conversation_id=conversation, seq=row.seq, role=role, text=text)


def _history(conversation: UUID) -> list[dict]:
    rows = Message.objects.filter(conversation_id=conversation).order_by("-seq")[1:21]
    return [{"role": "assistant" if row.role == "agent" else "user", "content": row.text} for row in reversed(rows)]


application = ProtocolTypeRouter({"websocket": PlainConsumer.as_asgi()})
