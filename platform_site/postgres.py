"""Django's settings for one PostgreSQL login. Pure: settings.py uses it at start, tenants.databases later."""

from psycopg.conninfo import conninfo_to_dict

POOL_SIZE = 8
OURS = frozenset({"dbname", "user", "password", "host", "port", "options", "connect_timeout"})


def database(url: str, search_path: str, *, pooled: bool = True, pool_size: int = POOL_SIZE) -> dict:
    """An entry of DATABASES. Pooled connections go back after each piece of work, with nothing left on them."""
    parts = conninfo_to_dict(url) if url else {}
    options = {
        **{name: value for name, value in parts.items() if name not in OURS},  # sslmode and the like
        "options": f"-c search_path={search_path} -c TimeZone=UTC -c lock_timeout=5s",
        "connect_timeout": 2,
    }
    if pooled:
        # a dead database must cost its callers 2 seconds, not the pool's default of 30
        options["pool"] = {
            "min_size": 0,
            "max_size": pool_size,
            "num_workers": 1,
            "timeout": 2,
            "max_lifetime": 600,
        }
    return {
        "ENGINE": "tenants.backend",
        "NAME": parts.get("dbname", ""),
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": parts.get("port", ""),
        "OPTIONS": options,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,  # the backend's first statement on a pooled connection shows whether it lives
    }
