"""OpenAI's client without its walk through every message, for litellm to make its requests with.

Before each request the SDK compares every field of every message with its types, to find files and dates to convert.
Ours hold only text; with twenty messages of history the walk blocks the event loop for 8 ms, and the rest of a
request takes 4. Everything else, from the parameters to the errors, stays litellm's and the SDK's.
"""

import asyncio
from collections.abc import Callable
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from weakref import WeakKeyDictionary

import httpx
from openai import AsyncOpenAI, AsyncStream
from openai._base_client import make_request_options
from openai.resources.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.types.chat import ChatCompletion, ChatCompletionChunk


class _Completions(AsyncCompletions):
    async def create(self, *, timeout, extra_headers=None, extra_query=None, extra_body=None, **body):
        options = make_request_options(
            extra_headers=extra_headers, extra_query=extra_query, extra_body=extra_body, timeout=timeout
        )
        return await self._post(
            "/chat/completions",
            body=body,
            options=options,
            cast_to=ChatCompletion,
            stream=body.get("stream") or False,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> _Completions:
        return _Completions(self._client)


class Client(AsyncOpenAI):
    """Like AsyncOpenAI; takes bodies that are ready to be sent."""

    @cached_property
    def chat(self) -> _Chat:
        return _Chat(self)


class Clients:
    """Clients that share their connections: one pool for each event loop, whatever the key.

    make  makes an HTTP client
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]):
        self._make = make
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def get(self, api_key: str, api_base: str | None, timeout: httpx.Timeout) -> Client:
        """A client for one request. Keep none: it holds a key."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = self._make()
            self._pools[loop].cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # keys share no state
        return Client(api_key=api_key, base_url=api_base, http_client=self._pools[loop], timeout=timeout, max_retries=0)

    async def close(self) -> None:
        """Close the running loop's connections."""
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            await pool.aclose()
