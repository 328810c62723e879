"""What is written down of the wire format is what the code speaks."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, ValidationError
from pydantic import TypeAdapter

from agents import wire
from agents.management.commands.wire_schema import schema, text

DOCS = Path(__file__).resolve().parents[2] / "docs"


def part(name: str) -> Draft202012Validator:
    return Draft202012Validator({**schema(), "anyOf": [{"$ref": f"#/$defs/{name}"}]})


def types(union) -> set[str]:
    return {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(union)[0])}


def test_the_written_schema_is_current():
    written = (DOCS / "wire.schema.json").read_text()
    assert written == text() + "\n", "run: .venv/bin/python manage.py wire_schema > docs/wire.schema.json"


def test_the_schema_is_one():
    Draft202012Validator.check_schema(schema())


def test_frames_that_are_taken_fit_the_schema_and_others_do_not():
    message = {"type": "message", "id": str(uuid4()), "text": "Hello"}
    wire.parse_frame(json.dumps(message))
    part("ClientFrame").validate(message)
    for wrong in ({**message, "model": "x"}, {"type": "message", "text": "Hello"}, {"type": "order"}):
        with pytest.raises(wire.BadFrame):
            wire.parse_frame(json.dumps(wrong))
        with pytest.raises(ValidationError):
            part("ClientFrame").validate(wrong)


def test_what_the_server_sends_fits_the_schema():
    turn, now = uuid4(), datetime.now(UTC)
    said = wire.StoredMessage(id=uuid4(), seq=2, role="agent", text="Hi", created_at=now, outcome="done", turn=turn)
    events = [
        wire.Accepted(seq=1, id=uuid4(), message=uuid4(), turn=turn, created_at=now),
        wire.Delta(turn=turn, attempt=1, n=1, text="Hi"),
        wire.TurnFinished(seq=2, turn=turn, attempt=1, outcome="done", message=said),
        wire.Limited(what="sessions", until=None, text="Later."),
    ]
    part("ServerFrame").validate(json.loads(wire.server_frame(events)))


def one_of_each(at: datetime) -> list:
    """An event of each kind, with all that may be nested in it."""
    turn, numbers = uuid4(), {"attempt": 1, "n": 2}
    cited = wire.Citation(
        n=1, document=uuid4(), title="Prices", page=None, passage='Ünïcode 🙂 "\\\n\x7f', updated_at=at
    )
    said = wire.StoredMessage(id=uuid4(), seq=2, role="agent", text="Hi", created_at=at, citations=[cited], turn=turn)
    agent, cursor = wire.AgentFacts(name="Ada", demo=False), wire.Cursor(turn=turn, **numbers)
    return [
        wire.Ready(conversation=uuid4(), seq=0, state="agent", agent=agent, turn=cursor),
        wire.Accepted(seq=1, id=uuid4(), message=uuid4(), turn=None, created_at=at),
        wire.TurnStarted(seq=1, turn=turn, attempt=1),
        wire.Waiting(turn=turn, place=None, **numbers),
        wire.Delta(turn=turn, text="</script>\u2028", **numbers),
        wire.ToolStarted(turn=turn, name="look_up", label="Looking up", **numbers),
        wire.ToolFinished(turn=turn, name="look_up", ok=True, **numbers),
        wire.Citations(turn=turn, items=[cited], **numbers),
        wire.TurnFinished(seq=2, turn=turn, attempt=1, outcome="done", message=said),
        wire.MessageEvent(seq=2, message=said),
        wire.StateEvent(seq=3, state="human"),
        wire.TypingEvent(on=True, author="Eve"),
        wire.Limited(what="sessions", until=at, text="Later."),
        wire.HistoryEvent(messages=[said, said], more=False),
        wire.Leaving(ticket="x"),
        wire.Error(code="busy", text="Later.", retry_after=0.5),
    ]


@pytest.mark.parametrize("at", ["2026-05-04T03:02:01Z", "2026-05-04T03:02:01.000500Z", "2026-05-04T03:02:01+02:00"])
@pytest.mark.parametrize("parsed", [datetime.fromisoformat, TypeAdapter(datetime).validate_python])
def test_events_are_written_as_pydantic_would(at, parsed):
    events = one_of_each(parsed(at))
    assert {event.type for event in events} == types(wire.Event)
    assert wire.as_json(events) == wire.EVENTS.dump_json(events)
    assert wire.EVENTS.validate_json(wire.as_json(events)) == events


@pytest.mark.parametrize("number", [2**31, 10**30])
def test_numbers_that_nothing_here_counts_to_are_refused(number):
    cursor = {"turn": str(uuid4()), "attempt": 1, "n": 1}
    for wrong in (
        {"type": "hello", "ticket": "x", "turn": {**cursor, "n": number}},
        {"type": "hello", "ticket": "x", "turn": {**cursor, "attempt": number}},
        {"type": "hello", "ticket": "x", "seq": number},
        {"type": "read", "seq": number},
        {"type": "history", "before": number},
    ):
        with pytest.raises(wire.BadFrame, match="less than or equal"):
            wire.parse_frame(json.dumps(wrong))


@pytest.mark.parametrize("union", [wire.Frame, wire.Event], ids=["frames", "events"])
def test_the_handbook_names_every_frame_and_event(union):
    named = set(re.findall(r"^\| `([a-z._]+)` \|", (DOCS / "chat.md").read_text(), re.MULTILINE))
    assert types(union) <= named
