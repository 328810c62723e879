"""What can go wrong in a conversation."""

from platform_site.errors import BadInput, Conflict, NotFound


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
