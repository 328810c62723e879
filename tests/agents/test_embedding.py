"""An embedding model from a real provider's protocol: meaning joins the keywords, and its tokens reach the outbox."""

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
