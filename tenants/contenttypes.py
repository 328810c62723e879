"""Django caches content types by alias alone, but one alias holds many schemas: their ids may differ."""

from tenants.context import current_or_none


class _ByContext(dict):
    """Keys carry the schema of the context beside the alias."""

    @staticmethod
    def _key(alias):
        ref = current_or_none()
        return alias, ref.schema if ref else ""

    def __getitem__(self, alias):
        return super().__getitem__(self._key(alias))

    def setdefault(self, alias, default=None):
        return super().setdefault(self._key(alias), default)


def key_cache_by_context() -> None:
    """Called once at start: from now on no look-up of one tenant answers another's."""
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects._cache = _ByContext()
