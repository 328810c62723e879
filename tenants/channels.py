"""The channel layer: small hints between sockets (a second tab, later the inbox), nothing that may not be lost."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisSingleShardConnection

from platform_site.waiting import Mailbox
from tenants import store

HINT_SECONDS = 2  # nobody misses one for long


class _Line(RedisSingleShardConnection):
    async def subscribe(self, channel):
        with _as_broken():
            await super().subscribe(channel)

    async def unsubscribe(self, channel):
        with _as_broken():
            await super().unsubscribe(channel)

    async def publish(self, channel, message):
        try:
            await super().publish(channel, message)
        except redis.ConnectionError:  # a kept connection that a restarted server does not know: the next is made anew
            await super().publish(channel, message)

    def _ensure_redis(self):
        if self._redis is None:
            super()._ensure_redis()
            self._subscribe_anew, self._pubsub.on_connect = self._pubsub.on_connect, self._on_connect
            self._hear, self._pubsub.get_message = self._pubsub.get_message, self._get_message

    async def _get_message(self, **how):
        with _as_broken():  # the receiver tries again, and logs what else it meets as a fault
            return await self._hear(**how)

    async def _on_connect(self, connection):
        await self._subscribe_anew(connection)
        sockets = self.channel_layer
        for mailbox in sockets.channels.values():
            mailbox.put_nowait(sockets.channel_layer.serialize({"type": "hints.missed"}))


@contextmanager
def _as_broken() -> Iterator[None]:
    """Where another task has just found the line broken, or makes it anew, the client meets what it leaves half done.

    It writes to what is no longer there, or reads what the other reads already.
    """
    try:
        yield
    except (AttributeError, RuntimeError) as error:
        raise redis.ConnectionError("the line is broken") from error


class HintLayer(RedisPubSubChannelLayer):
    """channels-redis without a subscription for each socket: ours only ever listen to groups.

    So a socket opens without a round trip, and also while Valkey is away. Hints go out one after the other, so one
    that finds no end must not hold up the others. Whenever the line to the server is made anew, every socket hears
    ``hints.missed``: what was said until then has reached nobody here.
    """

    def _get_layer(self):
        layer = super()._get_layer()
        if not isinstance(layer._shards[0], _Line):
            layer._shards = [_Line(shard.host, layer) for shard in layer._shards]
        return layer

    async def new_channel(self, prefix="specific."):
        layer = self._get_layer()
        channel = f"{layer.prefix}{prefix}{uuid4().hex}"
        layer.channels[channel] = Mailbox()
        return channel

    async def group_add(self, group, channel):
        """Raises store.Silent; TimeoutError: the hints before this wait for the server."""
        if store.is_silent():
            raise store.Silent
        async with asyncio.timeout(HINT_SECONDS):  # it waits for no reply, so it learns nothing of the server
            await self._get_layer().group_add(group, channel)

    async def group_discard(self, group, channel):
        """Raises redis.RedisError; TimeoutError: the hints before this wait for the server."""
        async with asyncio.timeout(HINT_SECONDS):
            await self._get_layer().group_discard(group, channel)

    async def group_send(self, group, message):
        """Raises store.Silent; TimeoutError: the server is silent, or the hints before this wait for it."""
        async with asyncio.timeout(HINT_SECONDS):
            with store.asking():
                await self._get_layer().group_send(group, message)
