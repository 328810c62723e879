"""OpenAI's client, for litellm to make its requests with, without what the SDK does around each of them.

The SDK compares every field of every message with its types, to find files and dates to convert; asks a thread what
system this is; copies and merges its options several times. Ours hold only text: one request of theirs is one of
ours, at a third of the processor time (with twenty messages of history, at a tenth). Parameters and retries stay
litellm's, streams and errors the SDK's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import httpx
import orjson
from openai import APIConnectionError, APITimeoutError, AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk


@dataclass(frozen=True)
class _Raw:
    """As much of the SDK's raw response as litellm reads."""

    client: AsyncOpenAI
    response: httpx.Response

    @property
    def headers(self) -> httpx.Headers:
        return self.response.headers

    def parse(self) -> AsyncStream[ChatCompletionChunk]:
        return AsyncStream(cast_to=ChatCompletionChunk, response=self.response, client=self.client)


class _RawCompletions:
    def __init__(self, client: "Client"):
        self._client = client

    async def create(self, *, timeout: httpx.Timeout, extra_headers: dict | None = None, **body) -> _Raw:
        """Send the body as it is. Raises openai.APITimeoutError, APIConnectionError, APIStatusError."""
        body |= body.pop("extra_body", None) or {}
        request = httpx.Request(
            "POST", _completions_url(str(self._client.base_url)), headers=self._headers(extra_headers),
            content=orjson.dumps(body), extensions={"timeout": timeout.as_dict()},
        )  # fmt: skip
        try:
            response = await self._client._client.send(request, stream=True)
        except httpx.TimeoutException as error:
            raise APITimeoutError(request=request) from error
        except httpx.HTTPError as error:
            raise APIConnectionError(request=request) from error
        if response.is_error:
            await response.aread()
            raise self._client._make_status_error_from_response(response)
        return _Raw(self._client, response)

    def _headers(self, extra: dict | None) -> dict:
        return {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "Atrium",
            **self._client.auth_headers,
            **(extra or {}),
        }


@lru_cache(maxsize=64)
def _completions_url(base_url: str) -> httpx.URL:
    return httpx.URL(base_url.rstrip("/") + "/chat/completions")


class Client(AsyncOpenAI):
    """Like AsyncOpenAI; ``chat.completions`` has only ``with_raw_response.create``, which takes bodies as they are."""

    @cached_property
    def chat(self) -> SimpleNamespace:
        return SimpleNamespace(completions=SimpleNamespace(with_raw_response=_RawCompletions(self)))


class _NoCookies(httpx.Cookies):
    """Takes none, for keys share no state, and looks for none in the headers, which costs time."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class Clients:
    """Clients that share their connections: one pool for each event loop, whatever the key.

    make  makes an HTTP client
    own   the operator's own key: its client is kept. A tenant's is not, for a client holds the key
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient], own: str):
        self._make, self._own = make, own
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, Client]] = WeakKeyDictionary()

    def get(self, api_key: str, api_base: str | None, timeout: httpx.Timeout) -> Client:
        """A client for one request of the running loop; ``timeout`` is the same for all."""
        loop = asyncio.get_running_loop()
        if api_key != self._own:
            return self._new(loop, api_key, api_base, timeout)
        kept = self._kept.setdefault(loop, {})
        if api_base not in kept:
            kept.clear()
            kept[api_base] = self._new(loop, api_key, api_base, timeout)
        return kept[api_base]

    def _new(self, loop: asyncio.AbstractEventLoop, api_key: str, api_base: str | None, timeout) -> Client:
        if loop not in self._pools:
            self._pools[loop] = self._make()
            self._pools[loop]._cookies = _NoCookies()  # the public setter would copy it into a jar that takes them
        return Client(api_key=api_key, base_url=api_base, http_client=self._pools[loop], timeout=timeout, max_retries=0)

    async def close(self) -> None:
        """Close the running loop's connections."""
        self._kept.pop(asyncio.get_running_loop(), None)
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            await pool.aclose()
