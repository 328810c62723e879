"""Attempts on the stores that tenants share: there the names are the wall, and they derive from the tenant at work."""

from uuid import uuid4

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from tenants import keys, store
from tenants.context import TenantRef, acting_for
from tenants.isolation.attempts import Try, Untried, for_nobody, is_refused

SECONDS = 60  # after which a canary goes away by itself, should the check be killed


def tries(own: TenantRef, other: TenantRef) -> list[Try]:
    """What ``own`` may not find of ``other`` in cache, Valkey, files and channels."""
    return [
        Try("cache.same_key", "The cache is asked for a key under which the other tenant keeps something.",
            lambda: _cache(own, other)),
        Try("cache.without_context", "The cache is asked while nothing says for whom.",
            lambda: [] if for_nobody(lambda: is_refused(lambda: cache.get("isolation"))) else ["it answered"]),
        Try("valkey.same_name", "Valkey is asked for a name under which the other tenant keeps something.",
            lambda: _valkey(own, other)),
        Try("valkey.without_context", "A name in Valkey is made while nothing says for whom.",
            lambda: [] if for_nobody(lambda: is_refused(lambda: keys.redis_key("isolation"))) else ["it was made"]),
        Try("files.same_name", "A file is opened by the name that the other tenant's has.",
            lambda: _same_file(own, other)),
        Try("files.foreign_path", "A file of the other tenant is opened by paths that lead out of the own folder.",
            lambda: _foreign_paths(own, other)),
        Try("files.without_context", "A file is asked for while nothing says whose.",
            lambda: [] if for_nobody(lambda: is_refused(lambda: default_storage.exists("isolation"))) else ["found"]),
        Try("channels.group", "A hint to a group of the other tenant is listened for in the own group of that name.",
            lambda: async_to_sync(_group)(own, other)),
    ]  # fmt: skip


def _cache(own: TenantRef, other: TenantRef) -> list[str]:
    key = f"isolation-{uuid4().hex}"
    with acting_for(other):
        cache.set(key, "canary", SECONDS)
    with acting_for(own):
        seen = cache.get(key)
        cache.delete(key)
    with acting_for(other):
        kept = cache.get(key)
        cache.delete(key)
    return _verdict(seen, kept, "canary")


def _valkey(own: TenantRef, other: TenantRef) -> list[str]:
    client, name = store.client(), uuid4().hex
    with acting_for(other):
        theirs = keys.redis_key("isolation", name)
    client.set(theirs, "canary", ex=SECONDS)
    with acting_for(own):
        mine = keys.redis_key("isolation", name)
        seen = client.get(mine)
        client.delete(mine)
    kept = client.getdel(theirs)
    return _verdict(seen, kept, b"canary")


def _verdict(seen, kept, canary) -> list[str]:
    leaks = ["the other tenant's entry was read"] if seen is not None else []
    return leaks if kept == canary else [*leaks, "the other tenant's entry was deleted"]


def _same_file(own: TenantRef, other: TenantRef) -> list[str]:
    with acting_for(other):
        name = default_storage.save(f"isolation/{uuid4().hex}", ContentFile(b"canary"))
    try:
        with acting_for(own):
            leaks = ["it was opened"] if _opens(name) else []
            default_storage.delete(name)
        with acting_for(other):
            return leaks if _opens(name) else [*leaks, "it was deleted"]
    finally:
        with acting_for(other):
            default_storage.delete(name)


def _foreign_paths(own: TenantRef, other: TenantRef) -> list[str]:
    with acting_for(other):
        name = default_storage.save(f"isolation/{uuid4().hex}", ContentFile(b"canary"))
        whole = keys.storage_path(name)
    paths = (
        f"../{other.id}/{name}",
        f"isolation/../../{other.id}/{name}",
        f"..\\{other.id}\\{name}",
        whole,
        f"/{whole}",
    )
    try:
        with acting_for(other):
            if not _opens(name):
                raise Untried("the other tenant did not find its own file")
        with acting_for(own):
            return [f"it was opened as {path}" for path in paths if _opens(path)]
    finally:
        with acting_for(other):
            default_storage.delete(name)


def _opens(name: str) -> bool:
    try:
        with default_storage.open(name) as file:
            return file.read() == b"canary"
    except (FileNotFoundError, ValueError, SuspiciousFileOperation):
        return False


async def _group(own: TenantRef, other: TenantRef) -> list[str]:
    """The hint to the other's group is sent first, so that it would come first."""
    layer, name = get_channel_layer(), uuid4().hex
    with acting_for(own):
        mine = keys.channel_group("isolation", name)
    with acting_for(other):
        theirs = keys.channel_group("isolation", name)
    channel = await layer.new_channel()
    await layer.group_add(mine, channel)
    try:
        await layer.group_send(theirs, {"type": "isolation", "of": "the other"})
        await layer.group_send(mine, {"type": "isolation", "of": "own"})
        heard = await layer.receive(channel)
    finally:
        await layer.group_discard(mine, channel)
    return [] if heard["of"] == "own" else ["the other tenant's hint was heard"]
