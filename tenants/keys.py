"""Names in the stores that tenants share. They derive from the tenant's id, which never changes, never from its slug.

Source: architecture, section 4.
"""

from uuid import UUID

from tenants.context import current, is_platform
from tenants.errors import NoTenantContext

Part = str | int | UUID


def redis_key(*parts: Part) -> str:
    """``t:{<id>}:a:b``: the braces keep all keys of one tenant in one cluster slot."""
    return _join(":", f"t:{{{current().id}}}", parts)


def system_key(*parts: Part) -> str:
    """``sys:a:b``: one of the few keys of the whole system; its members must name their tenant."""
    return _join(":", "sys", parts)


def channel_group(*parts: Part) -> str:
    """``t.<id>.a.b``, a group of the channel layer."""
    return _join(".", f"t.{current().id}", parts)


def storage_path(name: str) -> str:
    """``t/<id>/<name>``, a path in the file store. Raises ValueError for a name that would leave the folder."""
    clean = name.replace("\\", "/")
    if clean.startswith("/") or ".." in clean.split("/") or "\0" in clean:
        raise ValueError("a stored file's name may not leave its tenant's folder")
    return f"t/{current().id}/{clean}"


def collection_alias() -> str:
    """``t_<id>``, the alias of the tenant's vector collection."""
    return f"t_{current().id}"


def cache_key(key: str, prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION: every cache entry belongs to a tenant or, in platform work, to the platform."""
    if is_platform():
        return system_key("cache", prefix, str(version), key)
    try:
        return redis_key("cache", prefix, str(version), key)
    except NoTenantContext:
        raise NoTenantContext("the cache was asked for outside any tenant") from None


def _join(separator: str, head: str, parts: tuple[Part, ...]) -> str:
    return separator.join([head, *(str(part) for part in parts)])
