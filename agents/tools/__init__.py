"""The tools agents can be given, and the one way to run them: checked, bounded in time and size, never raising."""

import contextvars
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from agents.tools import builtin
from agents.tools.tool import Tool, ToolResult
from platform_site.errors import PlatformError

__all__ = ["RESULT_BYTES", "TOOL_SECONDS", "Tool", "ToolResult", "registered", "run", "schemas"]

logger = logging.getLogger(__name__)

TOOL_SECONDS = 20
RESULT_BYTES = 256 * 1024
_CUT = "\n[The result was longer. This is its beginning.]"

_threads = ThreadPoolExecutor(16, thread_name_prefix="tool")


def registered() -> dict[str, Tool]:
    """All tools by name."""
    return {tool.name: tool for tool in builtin.TOOLS}


def schemas(names: list[str]) -> list[dict]:
    """The named tools as a model is told of them, in OpenAI's format; names that are no tool are left out."""
    tools = registered()
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in (tools[name] for name in names if name in tools)
    ]


def run(name: str, arguments: dict) -> ToolResult:
    """Run a tool for the current tenant. Whatever goes wrong is a result that tells the model so.

    Takes at most TOOL_SECONDS; a tool that needs longer is given up, but Python cannot end its thread: it runs on
    until it returns, and what it changes stays changed.
    """
    tool = registered().get(name)
    if tool is None:
        return ToolResult(False, "There is no such tool.")
    if complaint := _complaint(tool, arguments):
        return ToolResult(False, f"The arguments do not fit: {complaint}")
    running = _threads.submit(contextvars.copy_context().run, _call, tool, arguments)
    try:
        return running.result(TOOL_SECONDS)
    except TimeoutError:
        running.cancel()
        logger.warning("tool took too long", extra={"tool": name})
        return ToolResult(False, "The tool took too long to answer.")


def _call(tool: Tool, arguments: dict) -> ToolResult:
    try:
        return _result(tool.run(arguments))
    except PlatformError as error:
        return ToolResult(False, str(error))
    except Exception:  # the outermost frame of somebody's tool
        logger.exception("tool failed", extra={"tool": tool.name})
        return ToolResult(False, "The tool failed.")
    finally:
        connections.close_all()  # back into the pool: this thread may serve another tenant next


def _result(value: dict) -> ToolResult:
    text = json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    data = text.encode("utf-8", "replace")
    if len(data) <= RESULT_BYTES:
        return ToolResult(True, text)
    kept = data[: RESULT_BYTES - len(_CUT)].decode("utf-8", "ignore")
    return ToolResult(True, kept + _CUT, cut=True)


@cache
def _validator(name: str):
    from jsonschema import Draft202012Validator

    return Draft202012Validator(registered()[name].parameters)


def _complaint(tool: Tool, arguments: dict) -> str:
    """What is wrong with the arguments, in words for the model; empty if nothing is."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(tool.name).iter_errors(arguments))
    return f"{error.json_path}: {error.message}"[:300] if error else ""
