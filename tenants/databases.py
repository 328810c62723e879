"""Aliases for the databases where tenants live, added while the process runs."""

import os
from threading import Lock
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connections

from platform_site import postgres

if TYPE_CHECKING:
    from tenants.models import Database

_lock = Lock()


def ensure_alias(database: "Database") -> str:
    """The alias of a placement in its present epoch; it is made known to this process when it is new.

    An alias name is never used again: when host or password change, the epoch counts up and a new alias begins.
    """
    alias = database.alias
    if alias not in connections.settings:
        with _lock:
            # Swapped, not inserted: other threads may be iterating over the old dictionary
            known = {**connections.settings, alias: postgres.database(_url(database), "", pool_size=settings.POOL_SIZE)}
            connections.settings = connections.configure_settings(known)
    return alias


def _url(database: "Database") -> str:
    """The placement's login, from the environment variable its row names."""
    if database.url_variable == "DATABASE_URL":
        return settings.DATABASE_URL
    return os.environ[database.url_variable]
