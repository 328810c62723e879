"""The offline demo model, a provider for litellm: "offline/demo". No network, no randomness, no understanding.

It quotes the sentences of the given passages that share the question's words, calls a tool whose description does,
and says so where nothing fits. How it finds its words: agents/offline_reading.py.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable

from django.conf import settings

from agents import offline_reading as reading

PROVIDER = "offline"
OFFLINE_MODEL = f"{PROVIDER}/demo"

NOT_FOUND = (
    "I could not find this in the documents I was given. I am a demo model that only quotes documents, "
    "so please try other words, or ask for a person."
)
NO_DOCUMENTS = (
    "I could not find this in the documents I was given: there are none that fit. I am a demo model that only quotes "
    "documents, so please try other words, or ask for a person."
)
GREETING = "Hello! I am a demo model: I look for your words in the documents I was given. What would you like to know?"
THANKS = "You are welcome!"
WHO = (
    "I am a demo model that runs offline. I am a program, not a person: I quote the sentences of the documents I was "
    "given that share words with your question, and I do not understand what I quote."
)

_GREETED = re.compile(r"(hello|hi|hey|good (morning|afternoon|evening|day)|hallo|guten (morgen|tag|abend)|moin)\b")
_THANKED = re.compile(r"(thank|thanks|thx|danke|merci|gracias)\b")
_WHO = re.compile(
    r"\b(who|what) are you\b|\bare you (an? )?(real|human|person|people|bot|robot|ai|machine|program|chatgpt|gpt)\b"
    r"|\b(what|which)( language)? (ai )?model\b|\bwho (made|built|trained) you\b"
    r"|\bam i (talking|speaking|chatting) (to|with)\b"
)
_TOOL_FIT = 0.75  # share of the question's words that a tool must know
_ANSWER_FIT = 0.4  # share of the question's weight that a sentence must carry


def reply(messages: list[dict], tools: list[dict]) -> str | tuple[str, dict]:
    """What the demo model says to a conversation: a text, or a tool's name and its arguments."""
    question = reading.last_question(messages)
    results = reading.tool_results(messages)
    passages = reading.passages(messages)
    if not results:
        if small_talk := _small_talk(question):
            return small_talk
        if call := _fitting_tool(question, tools, passages):
            return call
    found = reading.best_sentences(question, passages, least=_ANSWER_FIT)
    parts = [_told(result) for result in results] + ([reading.quoted(found)] if found else [])
    return " ".join(parts) or (NOT_FOUND if passages else NO_DOCUMENTS)


def _small_talk(question: str) -> str:
    said = question.lower().strip(" .!?,")
    if _WHO.search(said):
        return WHO
    if (match := _GREETED.match(said)) and not reading.content_words(said[match.end() :]):
        return GREETING
    if (match := _THANKED.match(said)) and len(said) < 40:
        return THANKS
    return ""


def _fitting_tool(question: str, tools: list[dict], passages) -> tuple[str, dict] | None:
    """The tool that knows the question's words better than the passages do, if its arguments can be filled."""
    wanted = reading.content_words(question)
    documented = reading.best_fit(question, passages)
    for tool in (tool["function"] for tool in tools):
        does, _, example = f"{tool['name'].replace('_', ' ')} {tool.get('description', '')}".partition("for example")
        known = wanted.intersection(reading.words(does))
        if len(known) > 1:  # "open" is only the clock's example: "when are you open?" does not ask for the time
            known |= wanted.intersection(reading.words(example))
        fit = len(known) / len(wanted) if wanted else 0
        arguments = _arguments(question, tool.get("parameters") or {})
        if fit >= _TOOL_FIT and fit >= documented and arguments is not None:
            return tool["name"], arguments
    return None


def _arguments(question: str, schema: dict) -> dict | None:
    """Values for the required properties, taken from the question; none if one cannot be had."""
    values = {}
    for name in schema.get("required", ()):
        rule = schema.get("properties", {}).get(name, {})
        choices = [choice for choice in rule.get("enum", ()) if str(choice).lower() in question.lower()]
        number = re.search(r"-?\d+", question)
        if choices:
            values[name] = choices[0]
        elif rule.get("type") in ("integer", "number") and number:
            values[name] = int(number.group())
        elif rule.get("type") == "string" and "enum" not in rule:
            values[name] = question
        else:
            return None
    return values


def _told(result: str) -> str:
    """A tool's result in words: its ``text``, or its fields one after the other."""
    try:
        value = json.loads(result)
    except ValueError:
        return result
    if not isinstance(value, dict):
        return str(value)
    fields = ", ".join(f"{name.replace('_', ' ')}: {given}" for name, given in value.items())
    return str(value.get("text") or f"I looked it up: {fields}.")


def tokens(text: str) -> list[str]:
    """The demo model's tokens: words with the space behind them."""
    return re.findall(r"\S+\s*|\s+", text)


def chunks(messages: list[dict], tools: list[dict], max_tokens: int | None) -> Iterable[dict]:
    """The answer as litellm's chunks; the last one holds the usage, counted in the demo model's tokens."""
    answer = reply(messages, tools)
    call = None
    if isinstance(answer, tuple):
        name, arguments = answer
        call = {
            "id": f"call_{name}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
            "index": 0,
        }
        answer = ""
    pieces = tokens(answer)[:max_tokens]
    for piece in pieces:
        yield _chunk(text=piece)
    if call:
        yield _chunk(tool_use=call)
    used = len(tokens(json.dumps([messages, tools], ensure_ascii=False)))
    made = len(pieces) + (len(tokens(call["function"]["arguments"])) if call else 0)
    cut = len(pieces) < len(tokens(answer))
    yield _chunk(
        is_finished=True,
        finish_reason="tool_calls" if call else "length" if cut else "stop",
        usage={"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made},
    )


def _chunk(**fields) -> dict:
    empty = {"text": "", "tool_use": None, "is_finished": False, "finish_reason": "", "usage": None, "index": 0}
    return empty | fields


def handler():
    """The provider that litellm calls for models named "offline/..."; importing litellm is the caller's decision."""
    from litellm import CustomLLM

    class OfflineProvider(CustomLLM):
        async def astreaming(self, *, messages, optional_params, **kwargs) -> AsyncIterator[dict]:
            limit = optional_params.get("max_tokens")
            for chunk in chunks(messages, optional_params.get("tools") or [], limit):
                if chunk["text"] and settings.OFFLINE_TOKEN_SECONDS:
                    await asyncio.sleep(settings.OFFLINE_TOKEN_SECONDS)
                yield chunk

    return OfflineProvider()
