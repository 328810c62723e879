"""An embedding model from a real provider's protocol: meaning joins the keywords, and its tokens reach the outbox."""

import contextlib
import socketserver
import threading
from urllib.parse import urlsplit

import pytest

from agents import embedding
from metering.outbox.models import UsageEvent
from platform_site.circuit_breaker import CircuitBreaker
from tenants.context import acting_for
from tests.doubles import openai_server
from tests.faults.line import Line, through
from tests.knowledge.ingesting import found, read_here, unheard_of


@pytest.fixture
def provider(settings):
    """The stand-in provider, embedding for the knowledge app."""
    with openai_server() as server:
        settings.EMBEDDING_MODEL = "openai/stand-in-embedding"
        settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = server.url, "sk-stand-in"
        yield server


def test_documents_are_embedded_found_by_meaning_and_paid_for(acme, provider):
    document = unheard_of(acme, "The pool opens at nine o'clock on Sundays.")
    assert read_here(acme, document).state == "ready"
    assert provider.requests[-1].path.endswith("/embeddings")
    assert found(acme, "The pool opens at nine o'clock on Sundays.")[0].document == document
    with acting_for(acme):
        kinds = {event.payload["kind"] for event in UsageEvent.objects.all()}
    assert kinds == {"embedding"}


def test_a_silent_model_is_waited_for_once_and_keywords_find_it_meanwhile(acme, provider, settings, monkeypatch):
    document = unheard_of(acme, "The pool opens at nine o'clock on Sundays.")
    read_here(acme, document)
    address = urlsplit(provider.url)
    line = Line(address.hostname, address.port)
    settings.OPENAI_BASE_URL = through(provider.url, line.port)
    monkeypatch.setattr(embedding, "_breaker", CircuitBreaker(1000))
    line.swallowing = True
    asked = len(provider.requests)
    assert found(acme, "When does the pool open?")[0].document == document
    line.mend()
    assert found(acme, "When does the pool open?")[0].document == document
    assert len(provider.requests) == asked  # the second did not ask
    line.cut()


class _Trickling(socketserver.BaseRequestHandler):
    """A gateway that sends one space a second, so that no single read is slow."""

    def handle(self):
        self.request.recv(65536)
        with contextlib.suppress(OSError):
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            while not self.server.ended.wait(1):
                self.request.sendall(b" ")


@pytest.fixture
def trickling():
    """Address of such a gateway."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Trickling) as server:
        server.ended = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.ended.set()
        server.shutdown()


def test_a_model_whose_answer_trickles_in_is_given_up_too(acme, provider, settings, monkeypatch, trickling):
    document = unheard_of(acme, "The pool opens at nine o'clock on Sundays.")
    read_here(acme, document)
    settings.OPENAI_BASE_URL = trickling
    breaker = CircuitBreaker(1000)
    monkeypatch.setattr(embedding, "_breaker", breaker)
    assert found(acme, "When does the pool open?")[0].document == document
    assert breaker.is_open  # the next question does not wait
