"""Is this process alive, and can Atrium serve? Bare for anybody; details for loopback and operators."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
from django.db import connections
from django.db.utils import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from psycopg_pool import PoolTimeout

from platform_site import callers
from platform_site.errors import PlatformError
from platform_site.tasks import HEARTBEAT_KEY
from tenants import store


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 when Postgres, Valkey, the vector store and a worker answer; 503 while one is missing."""
    results = _checked()
    status = 200 if all(result["ok"] for result in results.values()) else 503
    if not _may_see_details(request, results["postgres"]["ok"]):
        return HttpResponse("ready" if status == 200 else "not ready", status=status, content_type="text/plain")
    return JsonResponse({"ready": status == 200, "checks": results}, status=status)


def _checked() -> dict[str, dict]:
    from knowledge import vectors

    checks = {"postgres": _postgres, "valkey": _valkey, "vectors": vectors.ping, "worker": _worker}
    with ThreadPoolExecutor(len(checks)) as pool:
        timed = {name: pool.submit(_timed, check) for name, check in checks.items()}
        return {name: future.result() for name, future in timed.items()}


def _timed(check: Callable) -> dict:
    begun = time.perf_counter()
    try:
        check()
    except (OperationalError, PoolTimeout, redis.RedisError, PlatformError) as error:
        return {"ok": False, "error": type(error).__name__, "ms": _since(begun)}
    return {"ok": True, "ms": _since(begun)}


def _since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 1)


def _postgres() -> None:
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("select 1")
    finally:
        connections["default"].close()


def _valkey() -> None:
    store.client().ping()


def _worker() -> None:
    if not store.client().exists(HEARTBEAT_KEY):
        raise PlatformError("no worker has reported lately")


def _may_see_details(request: HttpRequest, can_look_up: bool) -> bool:
    """A direct caller on this machine, or a signed-in operator, if the database can say who that is."""
    if callers.is_direct(request):
        return True
    user = getattr(request, "user", None)  # an unknown host has none
    return bool(can_look_up and user and request.on_platform and user.is_authenticated and user.is_staff)
