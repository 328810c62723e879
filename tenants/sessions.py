"""Sessions in the schema of the context, stamped with the tenant they were made for.

A cookie of one tenant is not found at another; were it found (equal keys), its stamp would not fit.
"""

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from tenants.context import current, is_platform

STAMP = "_for"


def _stamp() -> str:
    return "platform" if is_platform() else str(current().id)


class SessionStore(DatabaseStore):
    """Django's database session, refused where its stamp does not fit."""

    def load(self):
        return self._checked(super().load())

    async def aload(self):
        return self._checked(await super().aload())

    def _checked(self, data: dict) -> dict:
        if data and data.get(STAMP) != _stamp():
            self._session_key = None
            return {}
        return data

    def encode(self, session_dict):
        return super().encode({**session_dict, STAMP: _stamp()})
