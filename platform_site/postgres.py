"""Django's settings for one PostgreSQL login. Pure: settings.py uses it at start, tenants.databases later."""

from psycopg.conninfo import conninfo_to_dict

STATEMENT_SECONDS = 10  # somebody waits for it
# a server or a network that vanished is noticed after 15 seconds, also between two statements
VANISHED = {"keepalives_idle": 6, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
OURS = frozenset({"dbname", "user", "password", "host", "port", "options", "connect_timeout"})


def database(url: str, search_path: str, *, pool_size: int = 0, patient: bool = False) -> dict:
    """An entry of DATABASES. Pooled connections go back after each piece of work, with nothing left on them.

    pool_size  how many there are at most; 0: no pool
    patient    a statement may take as long as it needs: operators' work
    """
    parts = conninfo_to_dict(url) if url else {}
    limit = "" if patient else f" -c statement_timeout={STATEMENT_SECONDS}s"
    options = {
        **VANISHED,
        **{name: value for name, value in parts.items() if name not in OURS},  # sslmode and the like
        "options": f"-c search_path={search_path} -c TimeZone=UTC -c lock_timeout=5s{limit}",
        "connect_timeout": 2,
    }
    if pool_size:
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
