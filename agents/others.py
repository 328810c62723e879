"""What the sockets of one conversation tell each other: a second tab, or the page that came back at another process.

A hint costs a message to Valkey and one back, so a socket that has begun its conversation tells nobody until another
says that it has entered. Most conversations never have a second one. Whoever was alone until then answers with a hint
of all that it had told nobody. Whoever has entered says so again when it looks back: the other may have been about to
enter, too, or Valkey was away.
"""

import logging
from uuid import UUID

from redis.exceptions import RedisError

from tenants.channels import HintLayer
from tenants.context import TenantRef, acting_for
from tenants.keys import channel_group

logger = logging.getLogger(__name__)


class Others:
    """As one socket knows them. Nothing here fails: where Valkey is away, the socket looks back."""

    def __init__(self, tenant: TenantRef, layer: HintLayer, own: str):
        self._tenant, self._layer, self._own = tenant, layer, own
        self._group = ""
        self._is_alone = False
        self._has_untold = False  # something was said here of which nobody was told

    async def enter(self, conversation: UUID, *, alone: bool = False) -> bool:
        """Hear from now on what they tell. False: Valkey is away. alone: no other is in the conversation yet."""
        self._is_alone = alone
        with acting_for(self._tenant):
            self._group = channel_group("conversation", conversation)
        try:
            await self._layer.group_add(self._group, self._own)
        except (RedisError, OSError) as error:
            logger.info("group not entered", extra={"error": type(error).__name__})
            self.may_have_entered()
            return False
        return True

    def may_have_entered(self) -> None:
        """For a while, one that enters would not have been heard."""
        self._is_alone = False

    async def leave(self) -> None:
        """Hear nothing any more."""
        if self._group:
            try:
                await self._layer.group_discard(self._group, self._own)
            except (RedisError, OSError) as error:
                logger.info("group not left", extra={"error": type(error).__name__})

    async def say(self, *, news: bool = True) -> bool:
        """Send a hint to all of them, if there may be any: something was said here, or only that somebody is here.

        What was said while it told nobody is news of the next hint. False: it went nowhere.
        """
        news, self._has_untold = news or self._has_untold, False
        if self._is_alone or not self._group:
            self._has_untold = news
            return True
        hint = {"type": "conversation.changed", "from": self._own, "news": news}
        try:
            await self._layer.group_send(self._group, hint)
        except (RedisError, OSError) as error:
            self._has_untold |= news
            logger.warning("others not told", extra={"error": type(error).__name__})
            return False
        return True

    async def take(self, hint: dict) -> bool:
        """Take note of a hint, and answer it if this socket was alone. Returns whether it brings news.

        It comes back to its sender, too.
        """
        if hint["from"] == self._own:
            return False
        if self._is_alone:
            self.may_have_entered()
            await self.say(news=False)
        return hint["news"]
