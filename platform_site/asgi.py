"""The web process: HTTP to Django, websockets to the chat door, and an orderly start and end."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

_http = get_asgi_application()  # loads the apps; what follows may import models

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import CookieMiddleware  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from agents.consumers import ChatConsumer  # noqa: E402
from platform_site.bodies import LimitedBody  # noqa: E402
from platform_site.lifespan import lifespan  # noqa: E402
from tenants.sockets import TenantSocket, nowhere  # noqa: E402

_sockets = URLRouter([path("ws/chat/", ChatConsumer.as_asgi()), re_path("", nowhere)])
application = ProtocolTypeRouter(
    {
        "http": LimitedBody(_http),
        "websocket": TenantSocket(CookieMiddleware(_sockets)),
        "lifespan": lifespan,
    }
)
