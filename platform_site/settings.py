"""Django's settings. What differs between installs comes from the environment (platform_site/env.py)."""

import dj_email_url

from platform_site import env as environment
from platform_site import postgres, schedule

env = environment.load()
BASE_DIR = environment.ROOT
DATA_DIR = env.data_dir

# Development and demo: printed logins, files served as they are. Django's own debug pages are asked for apart, because
# people look at our error pages here, too.
DEMO = env.debug
DEBUG = env.debug and env.debug_pages
SECRET_KEY = env.secret_key
ENCRYPTION_KEYS = environment.parse_keys(env.encryption_keys)
INSTALL = env.install

PUBLIC_SCHEME = env.public_scheme
PUBLIC_PORT = env.public_port
PLATFORM_HOST = env.platform_host
TENANT_HOST_SUFFIX = env.tenant_host_suffix
SECURE = PUBLIC_SCHEME == "https"
# Hosts are ours to check: tenants.hosts answers 404 to every name that no verified Domain row holds.
ALLOWED_HOSTS = ["*"]

# --- apps: control plane, data plane, both (architecture, section 2)
CONTROL_APPS = ["tenants", "agents", "metering", "branding", "admin"]
DATA_APPS = ["conversations", "knowledge", "outbox"]
BOTH_APPS = ["contenttypes", "auth", "sessions", "accounts", "account"]

_framework = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "tenants.accounts",
    "allauth",
    "allauth.account",
]
TENANT_APPS = [*_framework, "agents.conversations", "knowledge", "metering.outbox"]
SHARED_APPS = [
    # ours before django_tenants, so that our commands and templates win
    "tenants",
    "agents",
    "metering",
    "branding",
    "platform_site",
    "django_tenants",
    *_framework,
    "platform_site.admin_config.AdminConfig",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "channels",
]
INSTALLED_APPS = [*SHARED_APPS, *[app for app in TENANT_APPS if app not in SHARED_APPS]]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_SYNC_ROUTER = "tenants.router.PlaneRouter"
DATABASE_ROUTERS = ["tenants.router.PlaneRouter"]
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "platform_site.middleware.request_id",
    "platform_site.middleware.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tenants.hosts.middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
# Which half of the site a request sees is decided by its host: tenants.hosts sets request.urlconf.
ROOT_URLCONF = "platform_site.urls_nowhere"
PLATFORM_URLCONF = "platform_site.urls_platform"
TENANT_URLCONF = "platform_site.urls_tenant"
NOWHERE_VIEW = "platform_site.urls_nowhere.answer"
PROBE_PATHS = ("/healthz", "/readyz")
ASGI_APPLICATION = "platform_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "platform_site.pages.page_frame",
            ]
        },
    }
]

# --- databases (notes in docs/decisions/0002)
DATABASES = {
    "default": postgres.database(env.database_url, "public", pool_size=env.database_pool_size),
    "platform": postgres.database(env.database_platform_url, "public", pool_size=env.database_pool_size, patient=True),
    "provision": postgres.database(env.database_provision_url, "pg_catalog", patient=True),
}
if env.database_owner_url:
    DATABASES["owner"] = postgres.database(env.database_owner_url, "public", patient=True)
DATABASE_URL = env.database_url
POOL_SIZE = env.database_pool_size

# --- Redis protocol, cache, channels, queue
REDIS_URL = env.redis_url
REDIS_TIMEOUTS = {"socket_timeout": 3, "socket_connect_timeout": 2}  # seconds
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_FUNCTION": "tenants.keys.cache_key",
        "OPTIONS": REDIS_TIMEOUTS,
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "tenants.channels.HintLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL} | REDIS_TIMEOUTS], "prefix": "sys:channels"},
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "global_keyprefix": "sys:queue:"}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"knowledge.tasks.work": {"queue": "ingest"}}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = schedule.SCHEDULE
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")

QDRANT_URL = env.qdrant_url
QDRANT_API_KEY = env.qdrant_api_key

# --- sign-in, sessions
SESSION_ENGINE = "tenants.sessions"
# All cookies are for one host only, so operators, staff of each tenant and visitors never share one.
SESSION_COOKIE_NAME = "__Host-session" if SECURE else "session"
VISITOR_COOKIE = "__Host-visitor" if SECURE else "visitor"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = SECURE
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "__Host-csrf" if SECURE else "csrf"
CSRF_COOKIE_SECURE = SECURE
CSRF_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False  # a tenant's custom domain speaks for itself only
SECURE_SSL_REDIRECT = False  # the proxy in front does it
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE and env.trusted_proxies else None
SECURE_REFERRER_POLICY = "same-origin"
SILENCED_SYSTEM_CHECKS = [
    "auth.W004",  # e-mail addresses are unique without case, by a constraint
    "security.W005",  # HSTS is not for a tenant's other subdomains
    "security.W008",  # the proxy in front redirects to https
    "security.W021",
]

AUTHENTICATION_BACKENDS = ["tenants.accounts.backends.RoleBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCOUNT_ADAPTER = "tenants.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"  # staff come by invitation to their address, which proves it
ACCOUNT_EMAIL_NOTIFICATIONS = False
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_RATE_LIMITS = {"login_failed": "5/5m/key,30/m/ip", "login": "30/m/ip", "reset_password": "20/m/ip,5/m/key"}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
PASSWORD_RESET_TIMEOUT = 3600
# S105 takes any text of such a name for a password; this one is the path of a class, and no secret
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "tenants.accounts.tokens.ResetToken"  # noqa: S105

# --- files, mail
UPLOAD_BYTES = env.upload_bytes
MOVE_AHEAD_BYTES = env.move_ahead_bytes  # a tenant with more than this is copied while it works
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
STORAGES = {
    "default": {"BACKEND": "tenants.storage.TenantFileStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEMO
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
if env.s3_bucket:
    STORAGES["default"] = {
        "BACKEND": "tenants.storage_s3.TenantS3Storage",
        "OPTIONS": {
            "bucket_name": env.s3_bucket,
            "endpoint_url": env.s3_endpoint_url or None,
            "access_key": env.s3_access_key_id or None,
            "secret_key": env.s3_secret_access_key or None,
            "region_name": env.s3_region or None,
        },
    }
MEDIA_ROOT = DATA_DIR / "files"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "static_collected"
WHITENOISE_USE_FINDERS = DEMO
WHITENOISE_AUTOREFRESH = DEMO
if env.email_url:
    vars().update(dj_email_url.parse(env.email_url))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_TIMEOUT = 10
SUPPORT_EMAIL = env.support_email
OPERATOR_EMAILS = environment.parse_names(env.operator_emails)
REGION = env.region
DEFAULT_FROM_EMAIL = f"no-reply@{PLATFORM_HOST}"

# --- models and the turn (seconds, tokens, characters)
OPENAI_API_KEY = env.openai_api_key
OPENAI_BASE_URL = env.openai_base_url
DEFAULT_MODEL = env.default_model or (
    "openai/gpt-4o-mini" if env.openai_api_key or env.openai_base_url else "offline/demo"
)
TENANT_MODELS = environment.parse_names(env.tenant_models)  # beside the default one
EMBEDDING_MODEL = env.embedding_model
OFFLINE_TOKEN_SECONDS = env.offline_token_seconds
MODEL_CONNECT_SECONDS = 5
MODEL_FIRST_TOKEN_SECONDS = 30
MODEL_BETWEEN_TOKENS_SECONDS = 20
MODEL_TOTAL_SECONDS = 120
MODEL_PATIENCE_SECONDS = 45  # for the first word, over all tries
MODEL_ANSWER_TOKENS = 1_024
TURN_TOOL_ROUNDS = 4
TURN_DRAIN_SECONDS = env.turn_drain_seconds
TURN_CAP = env.turn_cap  # running at once in one process; of one tenant, a quarter
TURN_HISTORY_MESSAGES = 20
RESERVATION_SECONDS = 180

# --- the door: open sockets; messages, and frames of any kind, over one of them within a window
HELLO_SECONDS = 10
SOCKETS_PER_ADDRESS = env.sockets_per_address
SOCKETS_PER_TENANT = env.sockets_per_tenant
SOCKET_MESSAGES = env.socket_messages
SOCKET_FRAMES = 50
SOCKET_WINDOW_SECONDS = 10
HEADER_SECONDS = env.header_seconds
BODY_SECONDS = env.body_seconds
BODY_BYTES_PER_SECOND = 8 * 1024
API_REQUESTS_PER_MINUTE = env.api_requests_per_minute

# Of a process, for each database that its tenants live in. They stay, also where no tenant lives any more
DATABASE_THREADS = 16
BESIDE_THREADS = 8  # the same, for what is begun ahead of its need, mostly searches

# --- domains of the tenants' own (docs/domains.md)
DNS_SERVERS = environment.parse_servers(env.dns_servers)
DNS_SECONDS = env.dns_seconds
DOMAIN_LOOKUP = "tenants.nameservers.txt"  # whoever answers for the DNS: takes a name, gives its TXT records
DOMAIN_GRACE_DAYS = env.domain_grace_days
TLS_ASK_FROM = environment.parse_networks(env.tls_ask_from)

# --- interface
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "platform_site.api_access.KeyAuthentication",
        "platform_site.api_access.StaffAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["platform_site.api_access.MayCall"],
    "DEFAULT_THROTTLE_CLASSES": ["platform_site.api_rate.TenantRate"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "platform_site.api_access.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "API",
    "DESCRIPTION": "Conversations, documents, branding and usage of one tenant.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "SERVE_URLCONF": "platform_site.urls_tenant",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "platform_site.api_schema.with_limits",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "context": {"()": "platform_site.logs.ContextFilter"},
        "outage": {"()": "platform_site.logs.OutageFilter"},
    },
    "formatters": {"json": {"()": "platform_site.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["context"]}},
    "root": {"handlers": ["stderr"], "level": env.log_level},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "propagate": False, "level": "INFO"},
        "uvicorn.access": {"handlers": [], "propagate": False, "level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "channels_redis.pubsub": {"filters": ["outage"]},
        "django.request": {"filters": ["outage"]},
        "platform_site.rounds": {"filters": ["outage"]},
        "psycopg.pool": {"level": "ERROR"},  # what it warns of reaches the caller as an error
    },
}
