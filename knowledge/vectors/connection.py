"""The one client of a process, what was learned through it, and what to do when the store does not answer."""

import os
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from knowledge.errors import VectorStoreDown

RETRY_AFTER_SECONDS = 5
WRITE_PAUSES = (0.2, 1.0, 2.0)  # seconds before trying again; a restarted store is back within
READ_PAUSES = (0.05,)

Answer = TypeVar("Answer")


class Connection:
    """A client, and what is known of the collections for a moment (see `collection.facts_of`)."""

    def __init__(self, client: QdrantClient):
        self.client = client
        self.facts: dict[str, tuple] = {}


def connection() -> Connection:
    """This process's connection to the configured store."""
    return _connect(settings.QDRANT_URL, settings.QDRANT_API_KEY)


@lru_cache(maxsize=1)
def _connect(url: str, api_key: str) -> Connection:
    """One client for the process; its sockets must not be shared with a fork."""
    here = _is_loopback(urlsplit(url).hostname or "")
    if here:  # the key cannot be overheard
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
    client = QdrantClient(
        url=url,
        port=urlsplit(url).port or (443 if url.startswith("https:") else 6333),
        api_key=api_key or None,
        timeout=10,
        check_compatibility=False,  # it would block here for a request
        # Without limits the client keeps no connection to the loopback address. A server keeps an idle
        # one for 5 seconds, so it must be us who close it first.
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=4),
        trust_env=not here,  # a proxy does not know our loopback
    )
    return Connection(client)


os.register_at_fork(after_in_child=_connect.cache_clear)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ping() -> float:
    """Seconds that the store takes to answer; needs no tenant. Raises VectorStoreDown."""
    started = time.perf_counter()
    _ask(lambda client: client.collection_exists("ping"), pauses=())
    return time.perf_counter() - started


def read(call: Callable[[QdrantClient], Answer]) -> Answer:
    """Ask with little patience: somebody waits for the answer."""
    return _ask(call, READ_PAUSES)


def write(call: Callable[[QdrantClient], Answer]) -> Answer:
    """Ask with the patience to see a store restarted."""
    return _ask(call, WRITE_PAUSES)


def unless_missing(ask, call: Callable):
    """What `read` or `write` answers to the call, or None where the collection does not exist."""
    try:
        return ask(call)
    except UnexpectedResponse as error:
        if error.status_code != 404:
            raise
        return None


def _ask(call: Callable, pauses: tuple[float, ...]):
    """Call with the client; where the connection fails, again after each pause. Every call may be repeated.

    Raises  VectorStoreDown; UnexpectedResponse for what the store says is our mistake (404 among them)
    """
    for pause in (*pauses, None):  # None: the last attempt
        try:
            return call(connection().client)
        except ResponseHandlingException as error:
            if pause is None or not isinstance(error.source, httpx.NetworkError | httpx.RemoteProtocolError):
                raise VectorStoreDown(retry_after=RETRY_AFTER_SECONDS) from error
        except ResourceExhaustedResponse as error:
            raise VectorStoreDown(retry_after=error.retry_after_s) from error
        except UnexpectedResponse as error:
            if error.status_code in (400, 404, 409, 413, 422):
                raise
            raise VectorStoreDown(retry_after=RETRY_AFTER_SECONDS) from error
        time.sleep(pause)
    return None
