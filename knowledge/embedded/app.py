"""The service's door: a raw ASGI callable. Who calls, is the body small enough, one method, the answer."""

import asyncio
import hmac
import logging
import time
from functools import partial
from urllib.parse import parse_qsl, unquote

import orjson

from knowledge.embedded import changes
from knowledge.embedded.refusals import Refusal
from knowledge.embedded.service import Service
from knowledge.embedded.shards import FLUSH_SECONDS

logger = logging.getLogger(__name__)

VERSION = "1.20.0"  # of the interface; qdrant-client accepts a minor version next to its own
MOST_BYTES = 8 * 1024 * 1024
FLUSH_TICK_SECONDS = 0.1
# Asked for by clients for a cluster or an impatient caller; with one process that waits, nothing to do.
_PARAMETERS = {"wait", "ordering", "consistency", "timeout"}
_OPEN_PATHS = {"/", "/healthz", "/livez", "/readyz"}
_JSON = [(b"content-type", b"application/json")]


class App:
    """Qdrant's REST interface over a `Service`."""

    def __init__(self, service: Service, api_key: str):
        self.service = service
        self.api_key = api_key.encode()
        self.routes = _routes(service)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        if scope["type"] != "http":
            return None
        started = time.perf_counter()
        status, answer = await self._answer(scope, receive)
        answer["time"] = time.perf_counter() - started
        content = orjson.dumps(answer)
        headers = [*_JSON, (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        return await send({"type": "http.response.body", "body": content})

    async def _live(self, receive, send):
        """Flush in turn while the server runs; flush and close everything when it stops."""
        await receive()
        flushing = asyncio.create_task(self._keep_flushing())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        flushing.cancel()
        self.service.shards.close_all()
        await send({"type": "lifespan.shutdown.complete"})

    async def _keep_flushing(self):
        while True:
            await asyncio.sleep(FLUSH_TICK_SECONDS)
            try:
                self.service.shards.flush_one()
            except Exception:  # noqa: BLE001  the engine knows no other class; the log is still whole
                logger.exception("a flush failed; it is tried again")
                await asyncio.sleep(FLUSH_SECONDS)

    async def _answer(self, scope, receive) -> tuple[int, dict]:
        try:
            if scope["path"] in _OPEN_PATHS and scope["method"] == "GET":
                return 200, self._hello(scope["path"])
            self._check_key(scope["headers"])
            body = await _body(receive)
            return 200, {"result": self._route(scope)(body), "status": "ok"}
        except Refusal as refusal:
            return refusal.status, {"status": {"error": str(refusal)}}
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            logger.warning("refused %s %s: %s", scope["method"], scope["path"], type(error).__name__)
            return 400, {"status": {"error": f"Wrong input: {error}"}}
        except Exception as error:  # noqa: BLE001  the engine knows no other class
            return self._engine_error(error, scope)

    def _engine_error(self, error: Exception, scope) -> tuple[int, dict]:
        text = str(error)
        if text.startswith(_WRONG_INPUT):
            return 400, {"status": {"error": f"Wrong input: {text}"}}
        logger.error("failed %s %s", scope["method"], scope["path"], exc_info=error)
        return 500, {"status": {"error": f"Service internal error: {text}"}}

    def _hello(self, path: str) -> dict:
        if path == "/":
            return {"title": "atrium embedded vector service", "version": VERSION}
        return {"status": "ok"}

    def _check_key(self, headers) -> None:
        given = dict(headers)
        key = given.get(b"api-key") or given.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(key, self.api_key):
            raise Refusal(401, "Must provide an API key or an Authorization bearer token")

    def _route(self, scope):
        """The method for a path like ``/collections/{name}/points/query``, its names filled in."""
        for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            if name not in _PARAMETERS:
                raise Refusal(501, f"not implemented by the embedded vector service: parameter {name}")
        parts = [unquote(part) for part in scope["raw_path"].decode("latin-1").strip("/").split("/")]
        for pattern, method in self.routes.get((scope["method"], len(parts)), ()):
            if all(want in ("*", part) for want, part in zip(pattern, parts, strict=True)):
                names = [part for want, part in zip(pattern, parts, strict=True) if want == "*"]
                return partial(method, *names)
        raise Refusal(501, f"not implemented by the embedded vector service: {scope['method']} {scope['path']}")


# How the engine begins the text of what is the caller's mistake.
_WRONG_INPUT = (
    "Vector dimension error",
    "Not existing vector name",
    "Wrong usage of sparse vectors",
    "Wrong input",
    "Bad request",
    "No appropriate index",
    "Validation error",
)


async def _body(receive):
    """The request's JSON; a body beyond the limit is read to its end, so that the caller hears why."""
    size, chunks, more = 0, [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the connection was lost")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size <= MOST_BYTES:
            chunks.append(chunk)
    if size > MOST_BYTES:
        raise Refusal(413, f"a request may have {MOST_BYTES} bytes at most, this one has {size}")
    content = b"".join(chunks)
    return orjson.loads(content) if content else {}


def _routes(service: Service) -> dict:
    """(method, number of parts) -> patterns and what they call; ``*`` is a name."""
    table = (
        ("GET", "collections", service.collections),
        ("GET", "aliases", service.aliases),
        ("POST", "collections/aliases", service.change_aliases),
        ("PUT", "collections/*", service.create_collection),
        ("GET", "collections/*", service.collection),
        ("DELETE", "collections/*", service.drop_collection),
        ("GET", "collections/*/exists", service.exists),
        ("GET", "collections/*/aliases", service.collection_aliases),
        ("PUT", "collections/*/vectors/*", service.add_vector),
        ("PUT", "collections/*/index", service.add_index),
        ("DELETE", "collections/*/index/*", service.drop_index),
        ("POST", "collections/*/facet", service.facet),
        ("POST", "collections/*/points", service.retrieve),
        ("POST", "collections/*/points/scroll", service.scroll),
        ("POST", "collections/*/points/count", service.count),
        ("POST", "collections/*/points/query", service.query),
        ("POST", "collections/*/points/query/batch", service.query_batch),
        ("POST", "collections/*/points/batch", service.change_many),
        ("PUT", "collections/*/points", partial(service.change, changes.to_upsert)),
        ("POST", "collections/*/points/delete", partial(service.change, changes.to_delete)),
        ("POST", "collections/*/points/payload", partial(service.change, changes.to_set_payload)),
        ("PUT", "collections/*/points/payload", partial(service.change, changes.to_overwrite_payload)),
        ("POST", "collections/*/points/payload/delete", partial(service.change, changes.to_delete_payload)),
        ("POST", "collections/*/points/payload/clear", partial(service.change, changes.to_clear_payload)),
    )
    routes = {}
    for method, path, call in table:
        pattern = tuple(path.split("/"))
        routes.setdefault((method, len(pattern)), []).append((pattern, call))
    return routes
