"""What can go wrong in a conversation."""

from platform_site.errors import BadInput, Conflict, NotFound, PlatformError


class MessageTooLong(BadInput):
    """More characters than a message may have. details: limit, length"""

    code = "message_too_long"


class EmptyMessage(BadInput):
    """Nothing but white space."""

    code, text = "empty_message", "Write something first."


class NoConversation(NotFound):
    """The conversation is not there, or not yours."""

    code, text = "no_conversation", "This conversation does not exist."


class ConversationClosed(Conflict):
    """The conversation has ended; a new one can be started."""

    code, text = "conversation_closed", "This conversation has ended. Please start a new one."


class TooManyWaiting(PlatformError):
    """The conversation has as many unanswered questions as may wait. details: retry_after (seconds)"""

    code, status, text = "too_many_waiting", 429, "Please wait for an answer before you write more."


class Crowded(PlatformError):
    """As many of the tenant's questions wait for a place in this process as may. details: retry_after (seconds)"""

    code, status, text = "crowded", 429, "Many people are writing right now."


class NotStored(PlatformError):
    """The database cannot be reached, so nobody knows whether the message is in it. details: retry_after (seconds)"""

    code, status = "not_stored", 503
    text = "Your message could not be stored. Please send it again in a moment."
