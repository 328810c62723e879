"""Stand-ins for the outside world: small servers that speak the real protocol over a socket."""

from tests.doubles.openai_server import Reply, openai_server

__all__ = ["Reply", "openai_server"]
