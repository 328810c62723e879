"""Work tokens and ingest: every document comes to one end, once, whoever is killed, and tenants take turns."""

import os
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from django.db.models import F
from django.db.models.functions import Now

from knowledge import documents, embedder, ingest, tokens, vectors
from knowledge.models import Document, Passage, WorkToken
from platform_site.celery import app
from tenants import store
from tenants.context import acting_for, acting_for_platform
from tests.conftest import repeats, until
from tests.knowledge import files
from tests.knowledge.ingesting import add, ended, found, read_here, state, unheard_of
from tests.processes import running

GUIDE = [
    [("h1", "Opening hours"), ("p", "The clinic opens on Saturdays from nine until noon.")],
    [("h1", "Parking"), ("p", "Parking is free behind the house for two hours.")],
]
BAD = {
    "locked.pdf": (files.pdf(GUIDE[0], password="x"), "locked", "Remove the password"),
    "scan.pdf": (files.scanned_pdf(), "scanned", "text recognition"),
    "cut.pdf": (files.pdf(*GUIDE)[:300], "damaged", "save it under a new name"),
    "locked.docx": (files.encrypted_word(), "locked", "Remove the password"),
}


def test_an_upload_becomes_ready_and_is_found_by_page(acme, globex, worker):
    [row] = ended(acme, add(acme, files.pdf(*GUIDE, title="Visitor guide"), "v1_final.pdf"))
    assert (row.state, row.title, row.done, row.total, row.attempts) == ("ready", "Visitor guide", 2, 2, 1)
    best = found(acme, "Is the clinic open on Saturday?")[0]
    assert (best.document, best.page, best.title) == (row.pk, 1, "Visitor guide")
    assert "nine until noon" in best.text
    assert found(globex, "Is the clinic open on Saturday?") == []
    with acting_for(acme):
        until(lambda: not WorkToken.objects.exists())


def test_a_bad_file_ends_as_a_row_that_says_what_to_do_and_nothing_of_it_is_found(acme, worker):
    ids = {name: add(acme, data, name) for name, (data, _, _) in BAD.items()}
    ended(acme, *ids.values())
    for name, (_, code, advice) in BAD.items():
        row = state(acme, ids[name])
        assert (row.state, row.error_code) == ("failed", code), name
        assert advice in row.error_text
        assert row.can_retry
    with acting_for(acme):
        assert Passage.objects.count() == vectors.count() == 0


def test_one_document_does_not_wait_for_all_of_another_tenants(acme, globex):
    with resting_workers():
        theirs = [add(acme, f"Report {n}.", f"report {n}.txt") for n in range(max(12, repeats(50)))]
        mine = add(globex, "Our one page.")
        with ingest_worker(at_once=1):  # one after another, so that the queue alone says who comes first
            [row] = ended(globex, mine)
            others = ended(acme, *theirs)
    assert len([one for one in others if one.ready_at < row.ready_at]) == 2  # as many as the tenant has tokens


def test_a_worker_killed_midway_leaves_documents_that_become_ready_exactly_once(acme):
    text = "\n\n".join(f"# Part {n}\n\nThe number is {n * 7}. " + "More words. " * 90 for n in range(400))
    with resting_workers():
        ids = [add(acme, text, f"{n}.md") for n in range(2)]
        with ingest_worker() as process:
            until(lambda: any(0 < row.done < row.total for row in (state(acme, one) for one in ids)), seconds=60)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        rows = [state(acme, one) for one in ids]
        assert any(row.is_unfinished and row.lease_owner for row in rows)
        lapse(acme)
        with ingest_worker():
            sweep()
            rows = ended(acme, *ids)
    assert {row.state for row in rows} == {"ready"}
    with acting_for(acme):
        assert vectors.count() == Passage.objects.count() == sum(row.total for row in rows)
        for row in rows:
            assert vectors.count(document=row.pk) == Passage.objects.filter(document=row).count() == row.total


def test_a_message_that_comes_three_times_works_once(acme):
    unheard_of(acme, "One.")
    second = unheard_of(acme, "Two.")
    with acting_for(acme), resting_workers():
        token = WorkToken.objects.create(lease_until=Now() + tokens.LEASE)
        for _ in range(3):
            ingest.next_document(token.pk, 0)
        assert documents.get(second).state == "queued"
        assert Document.objects.filter(state="ready").count() == 1
        assert WorkToken.objects.get().seq == 1
        ingest.next_document(uuid4(), 0)  # a token that was swept away
        assert documents.get(second).state == "queued"


def test_no_tenant_gets_more_tokens_than_its_share(acme):
    with resting_workers():
        for n in range(5):
            add(acme, f"Page {n}.")
        with acting_for(acme):
            assert tokens.issue() == 0
            assert WorkToken.objects.count() == 2


def test_the_sweeper_finds_a_document_whose_message_was_lost(acme, worker):
    lost = unheard_of(acme, "Found again.")
    with acting_for(acme):
        tokens.mark()
    sweep()
    assert ended(acme, lost)[0].state == "ready"
    sweep()
    assert str(acme.id).encode() not in store.client().smembers(tokens.PENDING)


def test_where_the_marks_are_gone_all_tenants_are_looked_through(acme, worker):
    lost = unheard_of(acme, "Found again.")
    store.client().delete(tokens.PENDING, tokens.WHOLE)
    sweep()
    assert ended(acme, lost)[0].state == "ready"


def test_a_document_that_breaks_every_worker_is_given_up_with_a_reason(acme):
    row = read_here(acme, unheard_of(acme, "text", attempts=ingest.MOST_ATTEMPTS))
    assert (row.state, row.error_code) == ("failed", "interrupted")
    assert "split it" in row.error_text and row.can_retry


def test_while_the_vector_store_is_down_a_document_waits_and_then_goes_on(acme, settings, fresh_service):
    settings.QDRANT_URL, settings.QDRANT_API_KEY = fresh_service.url, fresh_service.api_key
    fresh_service.kill()
    row = read_here(acme, unheard_of(acme, "Patience."))
    assert (row.state, row.error_code, row.attempts) == ("queued", "vector_store_down", 0)
    with acting_for(acme):
        assert documents.passages(row) == []
    fresh_service.start()
    lapse(acme)
    assert read_here(acme, row.pk).state == "ready"


def test_what_is_removed_while_a_worker_reads_it_stays_removed(acme):
    one = unheard_of(acme, "Going.")
    with acting_for(acme):
        document = ingest.claim(uuid4())
        assert document.pk == one
        documents.remove(one, by="ann")
        with ingest.Lease(document, uuid4(), 0) as lease:
            with pytest.raises(ingest.LeaseLost):
                lease.step(state="splitting")
            ingest._work(document, lease)
        assert vectors.count() == Document.objects.count() == Passage.objects.count() == 0


def test_a_worker_that_was_thought_dead_changes_nothing(acme):
    unheard_of(acme, "Mine or yours.")
    with acting_for(acme):
        late = ingest.claim(uuid4())
    lapse(acme)
    with acting_for(acme):
        other = ingest.claim(uuid4())
        assert other.pk == late.pk
        with ingest.Lease(late, uuid4(), 0) as lease, pytest.raises(ingest.LeaseLost):
            lease.end("ready")
        assert documents.get(late.pk).lease_owner == other.lease_owner


def test_a_lost_file_is_said_to_be_lost(acme):
    one = unheard_of(acme, "text")
    with acting_for(acme):
        Document.objects.update(path="documents/elsewhere")
    assert read_here(acme, one).error_code == "file_gone"


def test_passages_are_embedded_and_their_tokens_written_down(acme, settings, monkeypatch):
    used = {}
    settings.EMBEDDING_MODEL = "test"
    monkeypatch.setattr(embedder, "_embed", lambda texts, kind: ([[1.0, 0.0]] * len(texts), 10 * len(texts)))
    monkeypatch.setattr(embedder, "_record", lambda event_id, tokens: used.update({event_id: tokens}))
    row = read_here(acme, unheard_of(acme, "\n\n".join(f"# {n}\n\n" + "word " * 150 for n in range(70)), "long.md"))
    assert row.state == "ready" and row.total > embedder.BATCH
    assert sum(used.values()) == 10 * row.total and len(used) == 2


def sweep():
    """As the clock does."""
    with acting_for_platform("a test"):
        tokens.sweep()


def lapse(tenant):
    """Let a minute pass, as far as leases go."""
    with acting_for(tenant):
        for model in (Document, WorkToken):
            model.objects.exclude(lease_until=None).update(lease_until=F("lease_until") - 2 * tokens.LEASE)


class resting_workers:  # noqa: N801
    """Workers of other tests leave the ingest queue alone inside the block."""

    def __enter__(self):
        app.control.cancel_consumer("ingest", reply=True, timeout=1)

    def __exit__(self, *_):
        app.control.add_consumer("ingest", reply=True, timeout=1)


def ingest_worker(*, at_once: int = 2):
    """A worker of the test's own, which works on so many documents at once."""
    log = Path(os.environ["DATA_DIR"]) / "test-ingest-worker.log"
    command = [sys.executable, "-m", "celery", "-A", "platform_site", "worker", "-Q", "ingest", "-c", str(at_once)]
    return running([*command, "--without-gossip", "--without-mingle", "-n", f"{uuid4()}@here"], log=log)
