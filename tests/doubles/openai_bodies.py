"""What an OpenAI-compatible server says: bodies and event streams, as the real one writes them."""

import base64
import hashlib
import json
import math
import re
import struct

DIMENSIONS = 256


def _tokens(reply) -> list[str]:
    if reply.text is None:
        return [] if reply.tools else [f"token{n} " for n in range(reply.tokens)]
    return re.findall(r"\S+\s*|\s+", reply.text)


def token_count(reply) -> int:
    """How many tokens of text the reply streams."""
    return len(_tokens(reply))


def _usage(body: dict, reply) -> dict:
    if isinstance(reply.usage, dict):
        return reply.usage
    prompt = len(json.dumps(body["messages"])) // 4
    completion = len(_tokens(reply)) + 5 * len(reply.tools)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _finish(reply) -> str | None:
    if reply.finish != "auto":
        return reply.finish
    return "tool_calls" if reply.tools else "stop"


def error(status: int, authorization: str) -> dict:
    """As talkative as real ones: a refused key is repeated in the text."""
    return {
        "error": {
            "message": f"Request failed with {status}. Incorrect API key provided: {authorization}",
            "type": "error",
            "code": str(status),
        }
    }


def completion(body: dict, reply) -> dict:
    """The answer to a request that does not stream."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(reply.tools)
    ]
    message = {"role": "assistant", "content": "".join(_tokens(reply)) or None}
    return {
        "id": "chatcmpl-double",
        "object": "chat.completion",
        "created": 1700000000,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": message | ({"tool_calls": calls} if calls else {}),
                "finish_reason": _finish(reply),
            }
        ],
        "usage": _usage(body, reply),
    }


def events(body: dict, reply) -> list[bytes]:
    """The server-sent events of a streamed answer, one element per event."""

    def event(choices, **more):
        chunk = {
            "id": "chatcmpl-double",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": body["model"],
            "choices": choices,
        }
        return f"data: {json.dumps(chunk | more, ensure_ascii=False)}\n\n".encode(errors="backslashreplace")

    def delta(finish_reason=None, **fields):
        return event([{"index": 0, "delta": fields, "finish_reason": finish_reason}])

    written = [delta(role="assistant", content="")]
    written += [delta(content=token) for token in _tokens(reply)]
    for index, (name, arguments) in enumerate(reply.tools):
        written += [delta(tool_calls=[part]) for part in _call_parts(index, name, arguments)]
    if reply.garbage:
        written.insert(len(written) // 2 + 1, b'data: {"choices": [{"del\n\n')
    if _finish(reply):
        written.append(delta(finish_reason=_finish(reply)))
    if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
        written.append(event([], usage=_usage(body, reply)))
    if reply.done:
        written.append(b"data: [DONE]\n\n")
    return written


def _call_parts(index: int, name: str, arguments: str) -> list[dict]:
    """A tool call arrives in parts: its name, then its arguments bit by bit."""
    first = {"index": index, "id": f"call_{index}", "type": "function"}
    half = len(arguments) // 2
    return [
        first | {"function": {"name": name, "arguments": ""}},
        {"index": index, "function": {"arguments": arguments[:half]}},
        {"index": index, "function": {"arguments": arguments[half:]}},
    ]


def embeddings(body: dict) -> dict:
    """Hashed words: texts that share words are near each other, the same text gives the same vector."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size = body.get("dimensions") or DIMENSIONS
    data = []
    for index, text in enumerate(texts):
        vector = _vector(text, size)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    spent = sum(len(text) // 4 + 1 for text in texts)
    usage = {"prompt_tokens": spent, "total_tokens": spent}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def _vector(text: str, size: int) -> list[float]:
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()):
        digest = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        vector[digest % size] += 1 if digest >> 63 else -1
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
