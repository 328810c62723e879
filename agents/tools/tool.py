"""What a tool is, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """Something an agent can do besides talking.

    name          what the model calls; letters, digits and underscores
    description   tells the model when to call it
    parameters    JSON schema of the arguments; an object that allows no others
    label         what the end user reads while it runs
    changes_data  it must not run again when a turn is taken over
    run           gets the checked arguments, acting for the tenant, on a thread of its own; returns JSON-ready facts,
                  best with a ``text`` that can be read out
    """

    name: str
    description: str
    parameters: dict
    label: str
    changes_data: bool
    run: Callable[[dict], dict]


@dataclass(frozen=True)
class ToolResult:
    """What the model is told. ``cut``: there was more than it may get."""

    ok: bool
    content: str
    cut: bool = False
