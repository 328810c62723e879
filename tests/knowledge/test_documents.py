"""documents: files are taken in, refused with words, read again, and removed without a trace."""

from pathlib import Path

import pytest
import redis
from django.conf import settings as configured
from django.core.files.storage import default_storage

from knowledge import documents, vectors
from knowledge.models import Document, Passage, WorkToken
from platform_site.errors import NotFound, TemporaryFailure
from tenants import store
from tenants.context import acting_for
from tenants.models import AuditEvent
from tenants.transactions import atomic
from tests.knowledge import files
from tests.knowledge.ingesting import add, found, read_here, state, unheard_of

REFUSED = [
    ("virus.exe", b"MZ\x90\x00" + bytes(200), "unsupported", "Upload a"),
    ("empty.txt", b"", "empty", "Check that it is the right one"),
    ("blank.txt", b"  \n \n", "empty", "no text"),
    ("prices.xlsx", files.archive({"xl/workbook.xml": b"<x/>"}), "unsupported", "Save it as PDF or CSV"),
    ("long.txt", b"word " * 500, "too_large", "Split it"),
]


@pytest.mark.parametrize(("name", "data", "code", "advice"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_file_that_cannot_be_used_becomes_a_row_that_says_why(acme, settings, name, data, code, advice):
    settings.UPLOAD_BYTES = 2_000
    row = state(acme, add(acme, data, name))
    assert (row.state, row.error_code, row.file_name) == ("failed", code, name)
    assert advice in row.error_text
    assert not row.can_retry and not row.path
    with acting_for(acme):
        assert not WorkToken.objects.exists()


def test_a_good_file_waits_with_its_content_kept_in_the_tenants_folder(acme):
    row = state(acme, unheard_of(acme, "Hello there."))
    with acting_for(acme), default_storage.open(row.path) as stored:
        assert stored.read() == b"Hello there."
    assert (Path(configured.MEDIA_ROOT) / f"t/{acme.id}" / row.path).exists()


def test_a_name_cannot_leave_the_tenants_folder_nor_hide_what_it_is(acme):
    row = state(acme, add(acme, "text", "../../etc/pass\u202ewd.txt"))
    assert row.file_name == "passwd.txt"
    assert row.path == f"documents/{row.pk}"


def test_nothing_is_taken_in_while_its_work_could_not_be_found_again(acme, monkeypatch):
    monkeypatch.setattr(store, "_sync", redis.Redis(port=1))  # nobody listens there
    with pytest.raises(TemporaryFailure, match="try again"):
        add(acme, "text")
    with acting_for(acme):
        assert not Document.objects.exists()


def test_removing_leaves_no_point_passage_file_or_row_and_is_audited(acme):
    row = read_here(acme, unheard_of(acme, "The garden closes at dusk."))
    assert found(acme, "When does the garden close?")
    with acting_for(acme):
        documents.remove(row.pk, by="ann@example.com")
        assert vectors.count() == Passage.objects.count() == Document.objects.count() == 0
        assert not default_storage.exists(row.path)
        assert AuditEvent.objects.get(action="document.removed").actor == "ann@example.com"
        with pytest.raises(NotFound):
            documents.remove(row.pk, by="ann@example.com")
    assert found(acme, "When does the garden close?") == []


def test_a_removal_that_stops_midway_says_so_and_can_be_finished(acme, settings, fresh_service):
    row = read_here(acme, unheard_of(acme, "The garden closes at dusk."))
    url, key = settings.QDRANT_URL, settings.QDRANT_API_KEY
    settings.QDRANT_URL, settings.QDRANT_API_KEY = fresh_service.url, "wrong"
    with acting_for(acme), pytest.raises(TemporaryFailure):
        documents.remove(row.pk, by="ann@example.com")
    settings.QDRANT_URL, settings.QDRANT_API_KEY = url, key
    assert "Remove it again" in state(acme, row.pk).error_text
    assert not state(acme, row.pk).can_retry
    assert found(acme, "When does the garden close?") == []
    with acting_for(acme):
        documents.remove(row.pk, by="ann@example.com")
        assert vectors.count() == 0


def test_two_clicks_on_retry_read_once_more_not_twice(acme):
    row = read_here(acme, unheard_of(acme, files.pdf([("p", "secret")], password="x"), "locked.pdf"))
    assert (row.state, row.error_code) == ("failed", "locked")
    with acting_for(acme), atomic():  # the worker hears of it only when both are done
        revisions = [documents.retry(row.pk).revision for _ in range(2)]
    assert revisions == [2, 2]


def test_a_document_of_another_tenant_is_not_there(acme, globex):
    foreign = unheard_of(globex, "Theirs.")
    with acting_for(acme):
        for verb in (documents.get, documents.retry, lambda one: documents.remove(one, by="ann")):
            with pytest.raises(NotFound):
                verb(foreign)
    assert state(globex, foreign).state == "queued"


def test_the_list_is_searched_and_paged_newest_first(acme):
    ids = [unheard_of(acme, "x", f"guide {n} part.txt") for n in range(5)]
    unheard_of(acme, "x", "price list.txt")
    with acting_for(acme):
        first = documents.newest(2, search="PART guide")
        second = documents.newest(9, search="part guide", before=first[-1].pk)
    assert [row.pk for row in first + second] == ids[::-1]
