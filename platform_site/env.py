"""What the environment says, typed and checked once at start.

The process environment wins; behind it stands the file ``<DATA_DIR>/env`` that `bin/up` keeps for the services it runs
itself. Any variable ``X`` may also be given as ``X_FILE``, the path of a file that holds the value (for secrets).
"""

import base64
import binascii
import ipaddress
import os
import re
import sys
from pathlib import Path
from typing import Literal

from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = re.compile(r"change|sample|example|insecure|secret-?key|password|^(.)\1*$", re.IGNORECASE)

MODEL_NAME = re.compile(r"[\w-]+(?:/[\w.:@-]+)+", re.ASCII)  # of litellm, with its provider


def _dotenv() -> Path:
    return Path(os.environ.get("DATA_DIR") or ROOT / ".atrium") / "env"


class Environment(BaseSettings):
    """Every variable Atrium reads. A name without a default must be set."""

    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False, env_ignore_empty=True)

    debug: bool = False
    debug_pages: bool = False  # with DEBUG: Django's own error pages, which show settings and source
    secret_key: str
    encryption_keys: str  # "id:base64 of 32 bytes", comma separated; the first encrypts, all decrypt
    install: str = "atrium"  # prefix of database roles, one per Atrium in a Postgres cluster
    data_dir: Path = ROOT / ".atrium"

    database_url: str
    database_platform_url: str
    database_provision_url: str = ""
    database_owner_url: str = ""  # only `manage.py deploy` needs it
    redis_url: str
    qdrant_url: str
    qdrant_api_key: str = ""
    email_url: str = ""
    region: str = ""  # where files and search index are, in the words of `manage.py database`
    operator_emails: str = ""  # who is written to when room runs out, comma separated; empty: all operators
    support_email: str = ""  # whom a paused tenant's staff are told to write to

    public_scheme: Literal["http", "https"] = "http"
    public_port: int = 8000
    platform_host: str = "platform.localhost"
    tenant_host_suffix: str = "localhost"
    trusted_proxies: int = 0
    tls_ask_from: str = ""  # networks, comma separated, beside loopback

    dns_servers: str = ""  # address or address:port, comma separated; empty: the system's
    dns_seconds: float = 3
    domain_grace_days: int = 7

    default_model: str = ""
    tenant_models: str = ""  # litellm's names, comma separated: what tenants may choose where their plan lists none
    openai_api_key: str = ""
    openai_base_url: str = ""
    embedding_model: str = ""

    s3_bucket: str = ""
    s3_endpoint_url: str = ""
    s3_access_key_id: str = ""
    s3_secret_access_key: str = ""
    s3_region: str = ""

    database_pool_size: int = Field(8, ge=2)  # with one, a search that waits would keep all others from it
    upload_bytes: int = 25 * 1024 * 1024
    move_ahead_bytes: int = 100_000_000
    offline_token_seconds: float = 0.01
    turn_drain_seconds: float = 25
    turn_cap: int = Field(32, ge=1)  # running at once in one web process; of one tenant, a quarter
    sockets_per_address: int = 50
    sockets_per_tenant: int = 3_000
    socket_messages: int = 5  # within 10 seconds
    header_seconds: float = 10
    body_seconds: float = 30  # and one more for every 8 KiB
    api_requests_per_minute: int = 600  # of a tenant
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url", "database_platform_url", "database_provision_url", "database_owner_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        if value and not value.startswith(("postgres://", "postgresql://")):
            raise ValueError("must be a postgresql:// URL")
        if value:
            conninfo_to_dict(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be a redis://, rediss:// or unix:// URL")
        return value

    @field_validator("qdrant_url")
    @classmethod
    def _qdrant(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must be an http:// or https:// URL")
        return value

    @field_validator("tenant_models")
    @classmethod
    def _models(cls, value: str) -> str:
        if any(not MODEL_NAME.fullmatch(name) for name in parse_names(value)):
            raise ValueError("must be names of models with their provider, such as openai/gpt-4o-mini, comma separated")
        return value

    @field_validator("install")
    @classmethod
    def _install(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", value):
            raise ValueError("must be 1 to 16 lower-case letters and digits, starting with a letter")
        return value

    @field_validator("dns_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        parse_servers(value)
        return value

    @field_validator("tls_ask_from")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _keys(cls, value: str) -> str:
        parse_keys(value)
        return value

    @model_validator(mode="after")
    def _no_samples(self):
        if self.debug:
            return self
        if len(self.secret_key) < 32 or SAMPLE.search(self.secret_key):
            raise ValueError("SECRET_KEY: is a sample or too short; use at least 32 random characters")
        if any(len(set(key)) < 8 for _, key in parse_keys(self.encryption_keys)):
            raise ValueError("ENCRYPTION_KEYS: a key is not random; use 32 bytes from a random source")
        return self


def parse_keys(text: str) -> list[tuple[str, bytes]]:
    """``"k2:…,k1:…"`` -> ``[("k2", 32 bytes), ("k1", 32 bytes)]``. Raises ValueError."""
    keys = []
    for part in filter(None, text.split(",")):
        name, _, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise ValueError("each key must be id:base64") from None
        if not re.fullmatch(r"[a-z0-9]{1,8}", name) or len(key) != 32:
            raise ValueError("each key must be id:base64 of 32 bytes, the id 1 to 8 letters or digits")
        keys.append((name, key))
    if not keys:
        raise ValueError("at least one key is needed, as id:base64 of 32 bytes")
    return keys


def parse_servers(text: str) -> list[tuple[str, int]]:
    """``"10.0.0.2,[::1]:5353"`` -> ``[("10.0.0.2", 53), ("::1", 5353)]``. Raises ValueError."""
    servers = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9a-fA-F:]+)", part)
        port = int(found[3] or 53) if found else 0
        if not 0 < port < 65_536:
            raise ValueError("must be IP addresses, each with :port if it is not 53 (IPv6 in brackets)")
        address = next(filter(None, (found[1], found[2], found[4])))
        servers.append((str(ipaddress.ip_address(address)), port))
    return servers


def parse_names(text: str) -> tuple[str, ...]:
    """``"a/b, c/d"`` -> ``("a/b", "c/d")``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_networks(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """``"10.0.0.0/8,192.0.2.7"`` as networks. Raises ValueError."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


def _secrets_from_files() -> dict[str, str]:
    """Values given as ``NAME_FILE=/path``."""
    names = {name.upper() for name in Environment.model_fields}
    given = {name: os.environ.get(f"{name}_FILE") for name in names}
    return {name.lower(): Path(path).read_text().strip() for name, path in given.items() if path}


def load() -> Environment:
    """The checked environment; ends the process with one line per fault when it cannot be used."""
    try:
        return Environment(_env_file=_dotenv(), **_secrets_from_files())
    except ValidationError as error:
        lines = [_fault(item) for item in error.errors(include_input=False, include_url=False)]
    except OSError as error:
        lines = [f"{error.filename}: cannot be read: {error.strerror}"]
    sys.exit("\n".join(["Atrium cannot start:", *lines, "See .env.example, or run bin/up."]))


def _fault(item: dict) -> str:
    message = item["msg"].removeprefix("Value error, ")
    name = ".".join(str(part) for part in item["loc"]).upper()
    if item["type"] == "missing":
        message = "is not set"
    return f"  {name}: {message}" if name else f"  {message}"
