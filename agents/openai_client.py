"""OpenAI's client, for litellm to make its requests with, without what the SDK does around each of them.

The SDK compares every field of every message with its types, to find files and dates to convert; asks a thread what
system this is; copies and merges its options several times; and each request is made three times over, by the SDK,
httpx and aiohttp. Ours hold only text: one request of theirs is one of aiohttp's, at a quarter of the processor time
(with twenty messages of history, at a tenth). Parameters stay litellm's, errors the SDK's, and httpx's while an answer
is read; the stream is the SDK's only where litellm does not show us the body.
"""

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from functools import cached_property, lru_cache
from types import SimpleNamespace
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
import httpx
import orjson
import yarl
from aiohttp.http_exceptions import HttpProcessingError
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration
from openai import APIConnectionError, APITimeoutError, AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from agents import slow_reading

LOST = (aiohttp.ClientError, HttpProcessingError, OSError)  # TimeoutError is one of the last: it is caught before
OF_THE_LINE = {"content-encoding", "content-length", "transfer-encoding"}  # headers; aiohttp has dealt with them
REFUSAL_BYTES = 64 * 1024
READ_BYTES = 64 * 1024  # readany() would leave what comes while it reads to another read: a frame more to each socket
# Never sends. Given none, the SDK makes a client of its own, and reads certificates for it
_UNUSED = httpx.AsyncClient(transport=httpx.AsyncBaseTransport())


class Body:
    """A streamed answer: as much of the SDK's raw response and its stream, and of httpx's response, as is read.

    Whoever reads it says how long it may take: nothing here does.
    """

    def __init__(self, client: AsyncOpenAI, response: aiohttp.ClientResponse):
        self._client, self._answer = client, response

    # --- what litellm reads

    def parse(self) -> "Body":
        return self

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        """The SDK's stream, for a litellm that does not show us the body."""
        await slow_reading.say()
        body = httpx.Response(self._answer.status, content=self.aiter_bytes())
        async for chunk in AsyncStream(cast_to=ChatCompletionChunk, response=body, client=self._client):
            yield chunk

    # --- what agents.answer_reading reads, of it or of litellm's stream around it

    custom_llm_provider = "openai"

    @property
    def completion_stream(self) -> "Body":
        return self

    @property
    def response(self) -> "Body":
        return self

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """All that has arrived at each read. Raises httpx.TimeoutException, httpx.NetworkError."""
        try:
            while data := await self._answer.content.read(READ_BYTES):
                yield data
        except TimeoutError as error:
            raise httpx.ReadTimeout("no word in time") from error
        except LOST as error:
            raise httpx.ReadError(str(error)) from error

    def pause(self) -> Callable[[], None] | None:
        """Let what arrives wait in the kernel until the returned function is called. None: nothing is to be paused."""
        line = self._answer.connection and self._answer.connection.protocol
        if line is None or getattr(line, "_reading_paused", True):
            return None  # all is there; or it holds as much as it may, and goes on when that was read
        line.pause_reading()
        return line.resume_reading

    async def aclose(self) -> None:
        """Give the connection back, or close it where something of the answer is still to come."""
        self._answer.release()


class _RawCompletions:
    def __init__(self, client: "Client"):
        self._client = client

    async def create(self, *, timeout: httpx.Timeout, extra_headers: dict | None = None, **body) -> Body:
        """Send the body as it is. Raises openai.APITimeoutError, APIConnectionError, APIStatusError."""
        body |= body.pop("extra_body", None) or {}
        url = str(self._client.base_url).rstrip("/") + "/chat/completions"
        limits = aiohttp.ClientTimeout(sock_connect=timeout.connect)  # for reading, agents.llm has shorter ones
        try:
            response = await self._client.session.post(
                yarl.URL(url, encoded=True), headers=self._headers(extra_headers), data=orjson.dumps(body),
                proxy=_proxy_of(url), timeout=limits,
            )  # fmt: skip
            if response.ok:
                return Body(self._client, response)
            said = await _refusal(response)
        except TimeoutError as error:
            raise APITimeoutError(request=httpx.Request("POST", url)) from error
        except asyncio.CancelledError as error:
            if asyncio.current_task().cancelling():
                raise
            raise APIConnectionError(request=httpx.Request("POST", url)) from error  # the session is being closed
        except LOST as error:
            raise APIConnectionError(request=httpx.Request("POST", url)) from error
        raise self._client._make_status_error_from_response(said)

    def _headers(self, extra: dict | None) -> dict:
        return {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "Atrium",
            **self._client.auth_headers,
            **(extra or {}),
        }


async def _refusal(response: aiohttp.ClientResponse) -> httpx.Response:
    """The same in the SDK's terms, and no more of its body than anybody says in an error; its connection is free."""
    said = b""
    try:
        while len(said) < REFUSAL_BYTES and (data := await response.content.read(REFUSAL_BYTES)):
            said += data
    finally:
        response.release()
    headers = {name: value for name, value in response.headers.items() if name.lower() not in OF_THE_LINE}
    request = httpx.Request("POST", str(response.url))
    return httpx.Response(response.status, headers=headers, content=said, request=request)


@lru_cache(maxsize=64)
def _proxy_of(url: str) -> str | None:
    """The environment's proxy for this address; kept, because looking for it is slow."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


class Client(AsyncOpenAI):
    """Like AsyncOpenAI; ``chat.completions`` has only ``with_raw_response.create``, which takes bodies as they are.

    session  whose connections it uses, and leaves open
    """

    def __init__(self, session: aiohttp.ClientSession, **options):
        super().__init__(http_client=_UNUSED, max_retries=0, **options)
        self.session = session

    @cached_property
    def chat(self) -> SimpleNamespace:
        return SimpleNamespace(completions=SimpleNamespace(with_raw_response=_RawCompletions(self)))


def _session() -> aiohttp.ClientSession:
    """For the running loop. Certificates and the numbers of connections are as litellm sets them."""
    trusted = get_ssl_configuration()
    transport = AsyncHTTPHandler.create_aiohttp_transport(
        ssl_context=trusted if isinstance(trusted, ssl.SSLContext) else None,
        ssl_verify=trusted if isinstance(trusted, bool) else None,
    )
    return transport.get_valid_client_session()


class Clients:
    """Clients that share their connections: one pool for each event loop, whatever the key.

    own  the operator's own key: its client is kept. A tenant's is not, for a client holds the key
    """

    def __init__(self, own: str):
        self._own = own
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()
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
            self._pools[loop] = _session()
        return Client(self._pools[loop], api_key=api_key, base_url=api_base, timeout=timeout)

    async def close(self) -> None:
        """Close the running loop's connections."""
        self._kept.pop(asyncio.get_running_loop(), None)
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            await pool.close()
