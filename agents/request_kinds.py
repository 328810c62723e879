"""What litellm makes of a model's parameters, kept for the next request of the kind.

For each request litellm works out anew which parameters the model takes, under which names, and how it is addressed.
That is two thirds of what a request costs, and comes out the same where only the texts differ. So the first request of
a kind goes through ``litellm.completion``: the coroutine that it returns, not begun yet, says what litellm calls its
handler for OpenAI's client with. The next of that kind calls this handler itself, which as before makes the body from
the messages and sends it. What litellm would wrap an answer in is left out where we read the body ourselves. Where
litellm returns anything else, nothing is kept.
"""

import inspect
from collections.abc import Coroutine
from copy import copy
from dataclasses import dataclass
from types import MethodType

import orjson

from agents import answer_reading

HANDLER = "OpenAIChatCompletion.async_streaming"
OF_ONE_REQUEST = {"messages", "user", "api_key", "client", "litellm_logging_obj"}
HANDED_ON = {"self", "messages", "client", "logging_obj", "api_key", "optional_params", "litellm_params"}
# Shared by all requests of a kind, so nothing that litellm's stream writes into: not "metadata"
NOTED = ("api_base", "custom_llm_provider", "merge_reasoning_content_in_choices", "model_info")
MOST = 1024  # of about 5 KB each, and twice the tools


class _Answered(BaseException):
    """The provider has begun to answer, and nothing is left for litellm to do, which would catch an Exception."""

    def __init__(self, body):
        self.body = body


@dataclass(frozen=True)
class _Kind:
    """What all requests of a kind have in common: litellm's handler, and what it is called with."""

    handler: object
    named: dict
    parameters: dict  # the model's, as litellm names them
    settings: dict  # litellm's own
    noted: dict  # of those, what litellm's stream asks for

    async def call(self, arguments: dict, messages: list[dict]):
        """litellm's stream, or the body, which leaves litellm's handler by an exception: it knows no other way out."""
        client, notes = arguments["client"], arguments["litellm_logging_obj"]
        user = {"user": arguments["user"]} if "user" in self.parameters else {}
        parameters, settings = self.parameters | user, self.settings | {"api_key": client.api_key}
        # as much as litellm's stream looks at
        notes.model_call_details |= {"custom_llm_provider": "openai", "litellm_params": self.noted}
        try:
            return await self.handler.async_streaming(
                **self.named, messages=messages, optional_params=parameters, litellm_params=settings,
                api_key=client.api_key, client=client, logging_obj=notes,
            )  # fmt: skip
        except _Answered as answered:
            return answered.body


class Kinds:
    """The kinds that this process has met.

    litellm  the library
    """

    def __init__(self, litellm):
        self._litellm = litellm
        self._known: dict[bytes, _Kind] = {}

    def call(self, arguments: dict) -> Coroutine:
        """The coroutine that makes the request and returns litellm's stream, or the body that it would read.

        arguments  of ``litellm.completion``
        """
        messages = self._litellm.utils.validate_and_fix_openai_messages(arguments["messages"])
        name = _name(arguments)
        if kind := self._known.get(name):
            return kind.call(arguments, messages)
        made = self._litellm.completion(acompletion=True, **arguments)
        if kind := _learned(made, arguments, messages):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[name] = kind
        return made


def _name(arguments: dict) -> bytes:
    common = {name: value for name, value in arguments.items() if name not in OF_ONE_REQUEST}
    return orjson.dumps(common, default=str)


def _learned(made: Coroutine, arguments: dict, messages: list[dict]) -> _Kind | None:
    """None where litellm goes another way, or does more to a request than is known here."""
    if getattr(made, "__qualname__", "") != HANDLER:
        return None
    named = dict(inspect.getcoroutinelocals(made))
    if not named.keys() >= HANDED_ON:
        return None
    handler, parameters, settings = named.pop("self"), named.pop("optional_params"), named.pop("litellm_params")
    own = [named.pop(name) for name in ("messages", "client", "logging_obj")]
    as_given = own == [messages, arguments["client"], arguments["litellm_logging_obj"]]
    if not as_given or parameters.get("user", arguments["user"]) != arguments["user"]:
        return None
    # nothing of this request stays: each of the kind puts in its own
    del named["api_key"]
    parameters = {name: "" if name == "user" else value for name, value in parameters.items()}
    noted = {name: settings[name] for name in NOTED if settings.get(name)}
    return _Kind(_brief(handler), named, parameters, settings | {"api_key": None}, noted)


def _brief(handler):
    """The handler without what follows a provider's first bytes: a task that notes how long it took, and a wrapper."""
    timed = getattr(type(handler), "make_openai_chat_completion_request", None)
    if not hasattr(timed, "__wrapped__"):
        return handler

    async def request(*args, **named):
        headers, response = await timed.__wrapped__(*args, **named)
        if hasattr(response, "aiter_bytes") and answer_reading.raw_body(response):
            raise _Answered(response)
        return headers, response

    brief = copy(handler)
    brief.make_openai_chat_completion_request = MethodType(request, brief)
    return brief
