"""Writes the chat's wire format as a JSON schema, for people who write a client of their own."""

import json

from django.core.management.base import BaseCommand
from pydantic import TypeAdapter

from agents import wire

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Command(BaseCommand):
    help = "Print the JSON schema of the chat's frames; docs/wire.schema.json is kept from it."
    requires_system_checks = []

    def handle(self, *args, **options):
        self.stdout.write(text())


def text() -> str:
    """The schema as it stands in docs/wire.schema.json, without a last line end."""
    return json.dumps(schema(), indent=2)


def schema() -> dict:
    """One JSON schema; ``$defs`` holds ClientFrame, what a client sends, and ServerFrame, what it gets."""
    kinds, parts = TypeAdapter.json_schemas(
        [
            ("frame", "validation", TypeAdapter(wire.Frame)),
            ("event", "serialization", TypeAdapter(wire.Event)),
        ]
    )
    server = {
        "type": "object",
        "properties": {"events": {"type": "array", "items": kinds["event", "serialization"]}},
        "required": ["events"],
        "additionalProperties": False,
    }
    frames = {"ClientFrame": kinds["frame", "validation"], "ServerFrame": server}
    return {
        "$schema": DIALECT,
        "title": "Atrium chat, wire format",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in frames],
        "$defs": {**frames, **parts["$defs"]},
    }
