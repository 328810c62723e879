"""Knowledge in the portal: what each role sees and may do, with and without script."""

from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from knowledge.models import STILL, Document
from tenants.context import acting_for
from tests.knowledge import files
from tests.knowledge.ingesting import read_here, state, unheard_of

LIST = "/knowledge/"
SCRIPT = {"HX-Request": "true"}


@pytest.fixture
def ann(acme, make_staff, client_of):
    """A builder of acme in a browser."""
    return client_of(acme, make_staff(acme, role="builder"))


def upload(*names):
    return {"files": [SimpleUploadedFile(name, b"Some text.") for name in names]}


def test_the_empty_list_says_what_it_is_for(ann):
    page = ann.get(LIST).content.decode()
    assert "No documents yet" in page and 'type="file"' in page and "Keyword search" in page


def test_files_are_uploaded_without_script(acme, ann):
    answer = ann.post(LIST, upload("a.txt", "b.exe.zip", "c.md"), follow=True)
    page = answer.content.decode()
    assert answer.redirect_chain == [(LIST, 302)]
    assert "1 of 3 files cannot be used" in page
    with acting_for(acme):
        assert Document.objects.count() == 3
    assert "Choose at least one file" in ann.post(LIST, follow=True).content.decode()


def test_with_script_an_upload_answers_with_its_row_and_wakes_the_poller(ann):
    page = ann.post(LIST, upload("report.txt"), headers=SCRIPT).content.decode()
    assert page.count("<li") == 1 and "report.txt" in page
    assert 'id="poller"' in page and "every 2s" in page


def test_the_list_polls_only_while_something_is_on_its_way(acme, ann):
    one = unheard_of(acme, "Soon.")
    assert "every 2s" in ann.get(LIST).content.decode()
    fragment = ann.get(f"{LIST}progress/?open={one}&open=nonsense", headers=SCRIPT).content.decode()
    assert "every 2s" in fragment and f'id="document-{one}"' in fragment and "Waiting" in fragment
    read_here(acme, one)
    fragment = ann.get(f"{LIST}progress/?open={one}", headers=SCRIPT).content.decode()
    assert "every 2s" not in fragment and "Ready" in fragment
    assert "every 2s" not in ann.get(LIST).content.decode()


def test_progress_is_said_in_words(acme, ann):
    one = unheard_of(acme, "x", state="indexing", done=120, total=300)
    page = ann.get(LIST).content.decode()
    assert "Indexing 120 of 300" in page and '<progress max="300" value="120"' in page
    with acting_for(acme):
        Document.objects.filter(pk=one).update(moved_at=timezone.now() - 2 * STILL)
    assert "Nothing has moved since" in ann.get(LIST).content.decode()


def test_a_failed_document_says_why_and_can_be_retried_by_two_clicks(acme, ann):
    one = read_here(acme, unheard_of(acme, files.pdf([("p", "x")], password="x"), "locked.pdf")).pk
    page = ann.get(LIST).content.decode()
    assert "Remove the password" in page and "Retry" in page
    fragment = ann.post(f"{LIST}{one}/retry/", headers=SCRIPT).content.decode()
    assert f'id="document-{one}"' in fragment and 'id="poller"' in fragment
    assert ann.post(f"{LIST}{one}/retry/").status_code == 302
    assert state(acme, one).revision >= 2  # more, if the worker was faster than the second click


def test_a_document_shows_its_passages_page_by_page(acme, ann):
    text = "\n\n".join(f"# Part {n}\n\n" + f"Sentence of part {n}. " * 40 for n in range(20))
    row = read_here(acme, unheard_of(acme, text, "parts.md"))
    page = ann.get(f"{LIST}{row.pk}/").content.decode()
    assert page.count('class="passage"') == 30 and "Next passages" in page and "Part 3" in page
    rest = ann.get(f"{LIST}{row.pk}/?after=29").content.decode()
    assert rest.count('class="passage"') == row.total - 30 and "Next passages" not in rest


def test_a_question_shows_what_would_be_found_with_scores(acme, ann):
    row = read_here(acme, unheard_of(acme, "The pool is heated to 28 degrees.", "pool.md"))
    for answer in (
        ann.get(f"{LIST}try/?question=How+warm+is+the+heated+pool", headers=SCRIPT),
        ann.get(f"{LIST}?question=How+warm+is+the+heated+pool"),
    ):
        page = answer.content.decode()
        assert "28 degrees" in page and "Score 0." in page and f"{LIST}{row.pk}/" in page and "by keyword" in page
    assert "No passage fits" in ann.get(f"{LIST}try/?question=mortgages").content.decode()


def test_while_the_search_is_down_the_panel_says_so(ann, settings):
    settings.QDRANT_URL = "http://127.0.0.1:1"
    answer = ann.get(f"{LIST}?question=pool")
    assert answer.status_code == 200 and "does not answer right now" in answer.content.decode()


def test_removing_asks_first(acme, ann):
    row = read_here(acme, unheard_of(acme, "Gone soon.", "old.md"))
    for headers in ({}, SCRIPT):
        page = ann.get(f"{LIST}{row.pk}/remove/", headers=headers).content.decode()
        assert "Its 1 passage can no longer be found" in page
    page = ann.post(f"{LIST}{row.pk}/remove/", follow=True).content.decode()
    assert "“old” is removed" in page and str(row.pk) not in page


def test_the_list_is_searched_and_paged_with_few_queries(acme, ann):
    for n in range(33):
        unheard_of(acme, "x", f"guide {n}.txt", state="failed")
    with CaptureQueriesContext(connections[acme.alias]) as queries:
        page = ann.get(f"{LIST}?search=guide").content.decode()
    assert page.count('id="document-') == 30
    assert len(queries) <= 8, [one["sql"][:80] for one in queries]
    older = page.split("?before=")[1].split('"')[0].replace("&amp;", "&")
    assert ann.get(f"{LIST}?before={older}").content.decode().count('id="document-') == 3
    assert "No document matches" in ann.get(f"{LIST}?search=nothing").content.decode()
    assert ann.get(f"{LIST}?before=nonsense").status_code == 200


PAGES = [("get", ""), ("post", "retry/"), ("get", "remove/"), ("post", "remove/")]


@pytest.mark.parametrize(("method", "page"), PAGES)
def test_another_tenants_document_is_not_there(acme, globex, ann, method, page):
    foreign = unheard_of(globex, "Theirs, canary-7193.", state="failed")
    answer = getattr(ann, method)(f"{LIST}{foreign}/{page}")
    unknown = getattr(ann, method)(f"{LIST}{uuid4()}/{page}")
    assert answer.status_code == unknown.status_code == 404
    assert state(globex, foreign).state == "failed" and state(globex, foreign).revision == 1
    assert str(foreign) not in ann.get(f"{LIST}progress/?open={foreign}").content.decode()


@pytest.mark.parametrize(("role", "view", "edit"), [("responder", 200, 403), ("privacy", 403, 403)])
def test_a_role_without_the_right_is_refused(acme, make_staff, client_of, role, view, edit):
    one = unheard_of(acme, "Readable.", state="failed")
    browser = client_of(acme, make_staff(acme, role=role))
    for page in ("", f"{one}/", "progress/", "try/?question=x"):
        assert browser.get(LIST + page).status_code == view
    assert browser.post(LIST, upload("a.txt")).status_code == edit
    assert browser.post(f"{LIST}{one}/retry/").status_code == edit
    assert browser.post(f"{LIST}{one}/remove/").status_code == edit
    if view == 200:
        page = browser.get(LIST).content.decode()
        assert 'type="file"' not in page and "Remove" not in page and "Retry" not in page


def test_nobody_is_sent_to_sign_in(acme, client_of):
    for page in (LIST, f"{LIST}progress/", f"{LIST}{uuid4()}/"):
        answer = client_of(acme).get(page)
        assert answer.status_code == 302 and "/accounts/login/" in answer["Location"]
