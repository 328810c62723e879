"""What is written down of the wire format is what the code speaks."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, ValidationError

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


@pytest.mark.parametrize("union", [wire.Frame, wire.Event], ids=["frames", "events"])
def test_the_handbook_names_every_frame_and_event(union):
    named = set(re.findall(r"^\| `([a-z._]+)` \|", (DOCS / "chat.md").read_text(), re.MULTILINE))
    assert types(union) <= named
