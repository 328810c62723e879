"""Reading a streamed answer in the format of OpenAI's chat completions. Knows no network and no litellm."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import orjson

# Far above any real answer: what a lying or broken provider may make us keep.
ANSWER_CHARACTERS = 1_000_000
EVENT_BYTES = 1_000_000
USAGE_TOKENS = 100_000_000

_REASONS = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}


@dataclass(frozen=True)
class ToolCall:
    """A complete call the model asks for; its arguments are parsed, not yet checked against the tool."""

    id: str
    name: str
    arguments: dict


@dataclass(frozen=True)
class Usage:
    """Tokens of one request. ``cached_tokens`` is the part of the input that the provider had cached."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    certainty: Literal["exact", "estimated"]


@dataclass(frozen=True)
class Finish:
    """How the answer ended. After "incomplete", what was received is all there is, and no tool was called."""

    reason: Literal["stop", "length", "tool_calls", "incomplete"]


class EventSplitter:
    """Cuts a body of server-sent events into the data of whole events; what is unfinished waits for more."""

    def __init__(self):
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that ``data`` completes. Raises ValueError: an event has no end."""
        *whole, self._tail = (self._tail + data).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._tail) > EVENT_BYTES:
            raise ValueError("an event has no end")
        payloads = []
        for event in whole:
            is_plain = event.startswith(b"data: ") and b"\n" not in event  # as nearly all are
            if payload := event[6:] if is_plain else _payload(event):
                payloads.append(payload)
        return payloads


def _payload(event: bytes) -> bytes:
    lines = (line.partition(b":")[2] for line in event.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b" ") for line in lines)


class Answer:
    """What has arrived so far. Chunks go in; text comes out at once, the rest when it is known to be whole.

    ended   the provider said that nothing more comes
    broken  something arrived that no answer contains: it will be incomplete, however it ends
    """

    def __init__(self):
        self.ended = False
        self.broken = False
        self.reason: str | None = None
        self.reported: dict | None = None  # usage in the provider's words
        self.text_bytes = 0
        self._calls: dict[int, dict[str, str]] = {}
        self._characters = 0

    @property
    def begun(self) -> bool:
        return self._characters > 0

    @property
    def size(self) -> int:
        """Grows whenever the model says something, be it text or part of a tool call."""
        return self._characters + len(self._calls)

    def take_events(self, payloads: list[bytes]) -> str:
        """Take the data of server-sent events; return the text they add. Raises OverflowError: too much."""
        texts = []
        try:
            for payload in payloads:
                if payload == b"[DONE]":
                    self.ended = True
                    continue
                try:
                    texts.append(self._take(orjson.loads(payload)))
                except (orjson.JSONDecodeError, AttributeError, TypeError, LookupError):
                    self.broken = True
        finally:  # what is too much was paid for, too
            text = "".join(texts)
            self.text_bytes += len(text.encode("utf-8", "replace"))
        self._count(len(text))
        return text

    def _take(self, chunk: dict) -> str:
        """Take one ``chat.completion.chunk``; return the text it adds."""
        if chunk.get("error"):
            self.broken = True
        self.reported = chunk.get("usage") or self.reported
        text = ""
        for choice in chunk.get("choices") or ():
            if choice.get("index"):  # only one answer was asked for
                continue
            delta = choice.get("delta") or {}
            text += (delta.get("content") or "") + (delta.get("refusal") or "")
            for part in delta.get("tool_calls") or ():
                self._take_call(part)
            if reason := choice.get("finish_reason"):
                self.reason = "" + reason  # TypeError: it is no word
        return text

    def _take_call(self, part: dict) -> None:
        call = self._calls.setdefault(operator.index(part.get("index") or 0), {"id": "", "name": "", "arguments": ""})
        function = part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        call["name"] = function.get("name") or call["name"]
        call["arguments"] += function.get("arguments") or ""
        self._count(len(function.get("arguments") or "") + len(function.get("name") or ""))

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > ANSWER_CHARACTERS:
            raise OverflowError("the answer has no end")

    def result(self) -> tuple[list[ToolCall], Finish]:
        """The tool calls and the end. Anything doubtful makes it incomplete, and then there are no calls."""
        reason = _REASONS.get(self.reason or "", "incomplete")
        if self.broken or not self.ended or reason == "incomplete":
            return [], Finish("incomplete")
        if not self._calls or reason == "length":  # cut off by max_tokens: the last call may be half
            return [], Finish("length" if reason == "length" else "stop")
        try:
            calls = [_whole(call, index) for index, call in sorted(self._calls.items())]
        except ValueError:
            return [], Finish("incomplete")
        return calls, Finish("tool_calls")

    def usage(self, estimated_input: Callable[[], int]) -> Usage:
        """What the provider reported, or an estimate where it said nothing or nothing believable."""
        reported = self.reported if isinstance(self.reported, dict) else {}
        given, made = _tokens(reported, "prompt_tokens"), _tokens(reported, "completion_tokens")
        details = reported.get("prompt_tokens_details")
        cached = _tokens(details, "cached_tokens") if isinstance(details, dict) else None
        if given and made is not None and (made or not self.size):
            return Usage(given, made, min(cached or 0, given), "exact")
        output_bytes = self.text_bytes + sum(len(call["arguments"]) for call in self._calls.values())
        return Usage(given or estimated_input(), tokens_in(output_bytes), 0, "estimated")


class EndMarks:
    """What a provider itself said about the end.

    litellm cannot be asked: for an answer that was cut off it reports "stop" and makes up the usage.

    opaque  the provider's chunks are of a kind we cannot read, so we must believe litellm after all
    """

    def __init__(self):
        self.finished = self.opaque = False
        self.usage: dict | None = None

    def watched(self, chunks):
        """The same chunks; the marks are set as they pass."""
        self.opaque = not hasattr(chunks, "__aiter__")
        return chunks if self.opaque else self._watch(chunks)

    async def _watch(self, chunks):
        try:
            async for chunk in chunks:
                self._note(chunk)
                yield chunk
        finally:  # a loop closes only the generator that it is in
            if hasattr(chunks, "aclose"):
                await chunks.aclose()

    def _note(self, chunk) -> None:
        part = chunk if isinstance(chunk, dict) else chunk.model_dump() if hasattr(chunk, "choices") else None
        if part is None:
            self.opaque = True
        else:
            ends = [choice.get("finish_reason") for choice in part.get("choices") or ()]
            self.finished |= any(ends) or bool(part.get("is_finished"))
            self.usage = part.get("usage") or self.usage


def _whole(call: dict[str, str], index: int) -> ToolCall:
    """The call, if it is whole. Raises ValueError."""
    arguments = orjson.loads(call["arguments"] or "{}")  # takes no half characters, which nothing could store
    if not call["name"] or not isinstance(arguments, dict):
        raise ValueError("not a tool call")
    return ToolCall(call["id"] or f"call_{index}", call["name"], arguments)


def _tokens(reported: dict, name: str) -> int | None:
    value = reported.get(name)
    return value if isinstance(value, int) and 0 <= value <= USAGE_TOKENS else None


def tokens_in(size_bytes: int) -> int:
    """Rule of thumb where nobody counted: four bytes of UTF-8 make a token."""
    return -(-size_bytes // 4)
