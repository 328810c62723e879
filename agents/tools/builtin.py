"""The tools that every agent can be given."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone

from agents.tools.tool import Tool
from tenants.context import current

_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


def _current_time(arguments: dict) -> dict:
    zone = current().timezone
    try:
        now = timezone.now().astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        zone, now = "UTC", timezone.now()
    return {
        "text": f"It is {now:%A}, {now.day} {now:%B %Y}, {now:%H:%M} ({zone}).",
        "date": now.date().isoformat(),
        "time": f"{now:%H:%M}",
        "weekday": f"{now:%A}",
        "timezone": zone,
    }


def _request_human(arguments: dict) -> dict:
    return {"handoff": True, "text": "A person has been asked to take over this conversation."}


CURRENT_TIME = Tool(
    name="current_time",
    description=(
        "The date and time right now where the business is. Call it when the answer depends on what time or day it is "
        "today, for example whether it is open now."
    ),
    parameters=_NO_ARGUMENTS,
    label="Looking up the time",
    changes_data=False,
    run=_current_time,
)

REQUEST_HUMAN = Tool(
    name="request_human",
    description=(
        "Hand this conversation over to a person. Call it when the customer asks to talk, speak, chat or be connected "
        "to a human, a real person, somebody of the staff or team, or when you cannot help."
    ),
    parameters=_NO_ARGUMENTS,
    label="Asking for a person",
    changes_data=False,  # the engine hands over when it sees "handoff"; twice is once
    run=_request_human,
)

TOOLS = (CURRENT_TIME, REQUEST_HUMAN)
