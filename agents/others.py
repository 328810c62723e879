"""What the sockets of one conversation tell each other: a second tab, or the page that came back at another process.

A hint costs a message to Valkey and one back, so a socket that has begun its conversation tells nobody until another
says that it has entered. Most conversations end so. Whoever was alone until then answers with a hint of all that it had
told nobody. Who enters says so once more when it looks back, for the other may have been about to enter, too.
"""

import logging
from uuid import UUID

from redis.exceptions import RedisError

from tenants.context import TenantRef, acting_for
from tenants.keys import channel_group

logger = logging.getLogger(__name__)


class Others:
    """As one socket knows them. Nothing here fails: where Valkey is away, the socket looks back."""

    def __init__(self, tenant: TenantRef, layer, own: str):
        self._tenant, self._layer, self._own = tenant, layer, own
        self._group = ""
        self.may_be_there = True

    async def enter(self, conversation: UUID) -> bool:
        """Hear from now on what they tell. False: Valkey is away."""
        with acting_for(self._tenant):
            self._group = channel_group("conversation", conversation)
        try:
            await self._layer.group_add(self._group, self._own)
        except (RedisError, OSError) as error:
            logger.info("group not entered", extra={"error": type(error).__name__})
            self.may_be_there = True  # what they say until it has entered is not heard
            return False
        return True

    async def leave(self) -> None:
        """Hear nothing any more."""
        if self._group:
            try:
                await self._layer.group_discard(self._group, self._own)
            except (RedisError, OSError) as error:
                logger.info("group not left", extra={"error": type(error).__name__})

    async def say(self, *, news: bool = True) -> bool:
        """Send a hint to all of them, if there may be any: something was said here, or only that somebody is here.

        False: it went nowhere.
        """
        if not (self._group and self.may_be_there):
            return True
        try:
            hint = {"type": "conversation.changed", "from": self._own, "news": news}
            await self._layer.group_send(self._group, hint)
        except (RedisError, OSError) as error:
            logger.warning("others not told", extra={"error": type(error).__name__})
            return False
        return True

    async def heard(self, hint: dict) -> bool:
        """Whether a hint brings news: it comes back to its sender, too. Whoever was alone until now answers it."""
        if hint["from"] == self._own:
            return False
        if not self.may_be_there:
            self.may_be_there = True
            await self.say()
        return hint.get("news", True)  # a process of an older version says it only so
