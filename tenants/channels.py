"""The channel layer: small hints between sockets (a second tab, later the inbox), nothing that may not be lost."""

from uuid import uuid4

from channels_redis.pubsub import RedisPubSubChannelLayer

from platform_site.waiting import Mailbox


class HintLayer(RedisPubSubChannelLayer):
    """channels-redis without a subscription for each socket: ours only ever listen to groups.

    So a socket opens without a round trip, and also while Valkey is away.
    """

    async def new_channel(self, prefix="specific."):
        layer = self._get_layer()
        channel = f"{layer.prefix}{prefix}{uuid4().hex}"
        layer.channels[channel] = Mailbox()
        return channel
