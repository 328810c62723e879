"""What litellm makes of a request: asked once for each kind of request, the others of a kind differ only in texts.

litellm names, drops and adds parameters as the model wants them, which takes 1.4 ms each time: more than all else that
is done for the request. A shape is only kept where litellm passed the texts on as they are.
"""

from typing import Protocol

import orjson

MOST = 256  # kinds of request


class Request(Protocol):
    """As much of agents.llm.Request as matters here."""

    model: str
    messages: list[dict]
    tools: list[dict]
    max_tokens: int
    temperature: float | None
    api_base: str | None
    user: str


class Shapes:
    """Bodies without their texts, by kind of request."""

    def __init__(self):
        self._known: dict[tuple, dict] = {}

    def body(self, request: Request) -> dict | None:
        """What to send to the provider; None if litellm has not been asked for this kind of request."""
        known = self._known.get(_kind(request))
        return known and known | {name: text for name, text in _texts(request).items() if name in known}

    def learn(self, request: Request, texts: bytes, sent: dict) -> None:
        """Keep what was sent for a request.

        texts  ``texts_of(request)``, from before litellm had it in its hands
        """
        names = _texts(request).keys() & sent.keys()
        passed_on = orjson.loads(texts) | {name: sent[name] for name in names}
        if "messages" not in names or orjson.dumps(passed_on) != texts:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[_kind(request)] = sent | dict.fromkeys(names)

    def forget(self, request: Request) -> None:
        """Ask litellm the next time."""
        self._known.pop(_kind(request), None)


def texts_of(request: Request) -> bytes:
    """What differs between requests of a kind."""
    return orjson.dumps(_texts(request))


def _texts(request: Request) -> dict:
    return {"messages": request.messages, "tools": request.tools, "user": request.user}


def _kind(request: Request) -> tuple:
    """All that litellm may look at. What a message is like counts, what it says does not."""
    messages = frozenset(
        (message["role"], tuple((name, type(value)) for name, value in message.items())) for message in request.messages
    )
    return (
        request.model, request.api_base, request.max_tokens, request.temperature, bool(request.user),
        orjson.dumps(request.tools), messages,
    )  # fmt: skip
