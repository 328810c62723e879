"""A service that does not answer: commands say in one line which, pages and programs are told to try again."""

import re
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

# What Postgres says of the connection itself: nothing (no server), login refused, starting up, no such database
CONNECTION_STATES = (None, "28P01", "28000", "57P03", "3D000")
# Classes of SQLSTATE: no connection, none left, ended or not there yet
GONE_CLASSES = ("08", "53", "57")
CANCELLED = "57014"  # a statement that took too long
HINT = "Start it with bin/up, or set its address in the environment (.env.example)."
RETRY_SECONDS = 5
TRIED = re.compile(r'server at "([^"]+)"(?: \([^)]*\))?, port (\d+) failed')


def is_outage(error: BaseException | None) -> bool:
    """Whether this came of PostgreSQL, Valkey or another service being away, not of a fault of ours."""
    import redis.exceptions
    from django.db.utils import OperationalError

    from platform_site.errors import TemporaryFailure

    return isinstance(error, OperationalError | redis.exceptions.RedisError | TemporaryFailure)


def has_gone(error: BaseException | None) -> bool:
    """An outage by which the service was not reached at all, or broke off: no statement of ours was at fault."""
    state = getattr(getattr(error, "__cause__", None), "sqlstate", None)
    return is_outage(error) and (state is None or state[:2] in GONE_CLASSES and state != CANCELLED)


@contextmanager
def explained():
    """Inside the block, an unreachable service ends the process with one line and status 1."""
    import psycopg
    import redis.exceptions
    from django.conf import settings
    from django.db.utils import OperationalError
    from psycopg_pool import PoolTimeout

    from platform_site.errors import TemporaryFailure

    try:
        yield
    except (OperationalError, PoolTimeout, psycopg.OperationalError) as error:
        if getattr(error.__cause__ or error, "sqlstate", None) not in CONNECTION_STATES:
            raise
        place = _tried(error) or _place(settings.DATABASE_URL)
        if _is_refused_login(error):
            sys.exit(f"PostgreSQL at {place} refuses the login. Check DATABASE_URL.")
        sys.exit(f"PostgreSQL does not answer at {place}. {HINT}")
    except redis.exceptions.ConnectionError:
        sys.exit(f"Valkey/Redis does not answer at {_place(settings.REDIS_URL)}. {HINT}")
    except TemporaryFailure as error:
        sys.exit(f"{error} {HINT}")


def _is_refused_login(error: Exception) -> bool:
    return "authentication failed" in str(error)


def _tried(error: Exception) -> str:
    """Host and port as libpq names them: tenants may live on other servers than our own."""
    found = TRIED.search(str(error))
    return ":".join(found.groups()) if found else ""


def _place(url: str) -> str:
    """Host and port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.hostname else parts.path
