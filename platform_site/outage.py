"""Says in one line which service a command needs and did not find."""

import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

HINT = "Start it with bin/up, or set its address in the environment (.env.example)."


@contextmanager
def explained():
    """Inside the block, an unreachable service ends the process with one line and status 1."""
    import redis.exceptions
    from django.conf import settings
    from django.db.utils import OperationalError
    from psycopg_pool import PoolTimeout

    from platform_site.errors import TemporaryFailure

    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        first_line = str(error).strip().splitlines()[0]
        sys.exit(f"PostgreSQL does not answer: {first_line}. {HINT}")
    except redis.exceptions.ConnectionError:
        sys.exit(f"Valkey/Redis does not answer at {_place(settings.REDIS_URL)}. {HINT}")
    except TemporaryFailure as error:
        sys.exit(f"{error} {HINT}")


def _place(url: str) -> str:
    """Host and port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.hostname else parts.path
