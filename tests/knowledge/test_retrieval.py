"""retrieval.find: the passages that answer, from ready documents of the asked bases only."""

from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connections

from knowledge import bases, embedder, retrieval
from knowledge.errors import VectorStoreDown
from knowledge.models import Document, KnowledgeBase
from platform_site.errors import PlatformError, TemporaryFailure
from tenants.context import acting_for, begin_for
from tenants.transactions import atomic
from tests.conftest import until
from tests.faults.line import Line, through
from tests.knowledge.ingesting import found, pretend_state, read_here, unheard_of

PARTS = {
    "Visiting": "Our doors open at nine on weekdays.",
    "Payment": "Invoices are due within thirty days; order AB-1234 is paid already.",
    "Dogs": "A dog may come along if it is on a leash.",
    **{f"Filler {n}": f"Nothing of interest stands in section {n}." for n in range(8)},
}
TEXT = "# House rules\n\n" + "\n\n".join(
    f"## {heading}\n\n{text} " + "Other words follow here. " * 40 for heading, text in PARTS.items()
)
MEANING = {"visit": ("doors", "visiting hours"), "money": ("invoices", "settle")}


@pytest.fixture
def meaning(settings, monkeypatch):
    """An embedding model that knows two ideas, and what it was used for."""
    used = []

    def embed(texts, kind):
        return [[float(any(word in text.lower() for word in words)) for words in MEANING.values()] + [0.01]
                for text in texts], 7 * len(texts)  # fmt: skip

    settings.EMBEDDING_MODEL = "test"
    monkeypatch.setattr(embedder, "_embed", embed)
    monkeypatch.setattr(embedder, "_record", lambda event_id, tokens: used.append(tokens))
    return used


def test_the_passage_with_the_words_comes_first_and_is_called_a_keyword_search(acme):
    row = read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    with acting_for(acme):
        answer = retrieval.find("May my dog come?", bases=[row.base_id])
    best = answer.passages[0]
    assert "leash" in best.text and (best.heading, best.title, best.document) == ("Dogs", "House rules", row.pk)
    assert answer.keyword_only
    assert best.updated_at == row.ready_at
    assert found(acme, "ab-1234")[0].heading == "Payment"


def test_a_question_without_a_shared_word_finds_nothing(acme):
    read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    assert found(acme, "Wie teuer ist ein Zahnimplantat?") == []
    assert found(acme, "?!") == []


def test_with_a_model_other_words_find_it_too_and_are_paid_for(acme, meaning):
    read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    meaning.clear()
    with acting_for(acme):
        answer = retrieval.find("How do I settle my debts?", bases=[bases.ensure_default().pk])
    assert answer.passages[0].heading == "Payment"
    assert not answer.keyword_only
    assert all(passage.heading != "Dogs" for passage in answer.passages)  # below the floor
    assert meaning == [7]


@pytest.mark.parametrize("failure", [TemporaryFailure, PlatformError])  # for now, or until an operator acts
def test_while_the_model_does_not_answer_words_must_do_and_it_is_said(acme, meaning, monkeypatch, failure):
    read_here(acme, unheard_of(acme, TEXT, "house rules.md"))

    def down(texts, kind):
        raise failure

    monkeypatch.setattr(embedder, "_embed", down)
    with acting_for(acme):
        answer = retrieval.find("May my dog come?", bases=[bases.ensure_default().pk])
    assert answer.keyword_only and "leash" in answer.passages[0].text


def test_nothing_of_a_document_that_is_not_ready_is_found(acme):
    row = read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    for state in ("indexing", "failed", "queued"):
        pretend_state(acme, row.pk, state)
        assert found(acme, "May my dog come?") == []
    with acting_for(acme):
        Document.objects.filter(pk=row.pk).update(state="ready", revision=2)  # being read again
        assert found(acme, "May my dog come?") == []


def test_many_passages_that_cannot_be_shown_do_not_hide_one_that_can(acme):
    ready = read_here(acme, unheard_of(acme, "The dog sleeps. " + "Other words follow here. " * 30, "a.md"))
    hidden = read_here(acme, unheard_of(acme, "\n\n".join(f"# Dog {n}\n\nDog dog. " * 9 for n in range(60)), "b.md"))
    pretend_state(acme, hidden.pk, "indexing")
    assert [one.document for one in found(acme, "dog")] == [ready.pk]


def test_only_the_asked_bases_are_searched_and_another_tenants_never(acme, globex):
    row = read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    with acting_for(acme):
        other = KnowledgeBase.objects.create(name="Other", language="de")
        assert retrieval.find("dog leash", bases=[other.pk]).passages == []
        assert retrieval.find("dog leash", bases=[]).passages == []
        assert retrieval.find("dog leash", bases=[other.pk, row.base_id]).passages
    with acting_for(globex):
        assert retrieval.find("dog leash", bases=[row.base_id]).passages == []


def test_each_base_is_searched_in_its_language(acme):
    with acting_for(acme):
        KnowledgeBase.objects.filter(pk=bases.ensure_default().pk).update(language="de")
    read_here(acme, unheard_of(acme, "Die Häuser sind gestrichen.", "a.md"))
    assert found(acme, "Wann wird das Haus gestrichen?")


def test_only_who_looks_into_busy_tables_is_told_so(acme, globex):
    for tenant in (acme, globex):
        read_here(tenant, unheard_of(tenant, TEXT, "house rules.md"))
        assert found(tenant, "May my dog come?")
    with ExitStack() as taken:
        with acting_for(acme):
            for _ in range(settings.POOL_SIZE // 4):
                taken.enter_context(retrieval._place())
        with pytest.raises(retrieval.TablesBusy):
            found(acme, "May my dog come?")
        assert found(acme, "Wie teuer ist ein Zahnimplantat?") == []
        assert found(globex, "May my dog come?")
    assert found(acme, "May my dog come?")


def test_who_waits_for_the_vector_store_holds_no_connection(acme, settings):
    """Eight searches of tenants that have not been asked for a minute would leave none for anybody's questions."""
    row = read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    connections.close_all()
    address = urlsplit(settings.QDRANT_URL)
    line = Line(address.hostname, address.port)
    line.swallowing = True
    settings.QDRANT_URL = through(settings.QDRANT_URL, line.port)
    retrieval._languages.forget()
    with acting_for(acme):
        search = begin_for(acme, lambda: retrieval.find("dog leash", bases=[row.base_id]))
        until(lambda: line.swallowed)
        assert not held(acme.alias)
    line.cut()
    assert isinstance(search.exception(timeout=10), VectorStoreDown)


def test_a_search_within_a_transaction_leaves_it_whole(acme):
    row = read_here(acme, unheard_of(acme, TEXT, "house rules.md"))
    with acting_for(acme):
        with atomic():
            Document.objects.filter(pk=row.pk).update(title="Rules of the house")
            assert retrieval.find("dog leash", bases=[row.base_id]).passages
        assert Document.objects.get(pk=row.pk).title == "Rules of the house"


def held(alias: str) -> int:
    """Connections of this process's pool that somebody holds."""
    size = connections[alias].pool.get_stats()
    return size["pool_size"] - size.get("pool_available", 0)
