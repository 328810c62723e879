"""A web process of `bin/up`: ``python -m platform_site.local.listening NUMBER …``, numbers of sockets that it inherits.

uvicorn's own --fd takes only one, and takes it for a local socket: answers would then wait for more (Nagle).
"""

import socket
import sys

import uvicorn


def main() -> None:
    """Serve until SIGTERM; what arrives at a socket that others share is taken by whichever of them is free."""
    config = uvicorn.Config(
        "platform_site.asgi:application",
        http="platform_site.serving:Http",
        ws="platform_site.serving:Sockets",
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run([socket.socket(fileno=int(number)) for number in sys.argv[1:]])


if __name__ == "__main__":
    main()
