"""The channel layer: small hints between sockets (a second tab, later the inbox), nothing that may not be lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from channels_redis.pubsub import RedisPubSubChannelLayer

from platform_site.waiting import Mailbox
from tenants import store

SECONDS = 2  # for a hint, which nobody misses for long


class HintLayer(RedisPubSubChannelLayer):
    """channels-redis without a subscription for each socket: ours only ever listen to groups.

    So a socket opens without a round trip, and also while Valkey is away. Hints go out one after the other, so one
    that finds no end must not hold up the others.
    """

    async def new_channel(self, prefix="specific."):
        layer = self._get_layer()
        channel = f"{layer.prefix}{prefix}{uuid4().hex}"
        layer.channels[channel] = Mailbox()
        return channel

    async def group_add(self, group, channel):
        async with _in_time():
            await self._get_layer().group_add(group, channel)

    async def group_send(self, group, message):
        async with _in_time():
            await self._get_layer().group_send(group, message)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raises TimeoutError: the server is silent, or the hints before this one wait for it."""
    async with asyncio.timeout(SECONDS):
        with store.asking():
            yield
