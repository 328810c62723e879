"""How much room a tenant's documents may take: what its plan gives, not a byte more."""

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError

from knowledge import documents, storage, tokens
from knowledge.errors import StorageFull
from knowledge.models import Document
from tenants.accounts import keys
from tenants.context import acting_for
from tests.knowledge.ingesting import add, state
from tests.metering.planned import put_on_plan
from tests.threads import Threads

LIST = "/knowledge/"


@pytest.fixture
def small(acme):
    """acme, with room for 1,000 bytes."""
    put_on_plan(acme, storage_bytes=1_000)
    return acme


def standing(tenant) -> tuple[int, int]:
    with acting_for(tenant):
        now = storage.standing()
    return now.used, now.allowed


def kept(tenant) -> int:
    """How many files of documents are in the tenant's folder."""
    with acting_for(tenant):
        return len(default_storage.listdir("documents")[1])


def test_a_file_without_room_is_refused_with_how_much_is_used_and_what_to_do(small, globex):
    add(small, b"x" * 800)
    with pytest.raises(
        StorageFull, match=r"800 bytes of the 1000 bytes in your plan.*Remove documents.*larger plan"
    ) as full:
        add(small, b"y" * 201)
    assert full.value.details == {"used": 800, "allowed": 1_000, "bytes": 201}
    assert standing(small) == (800, 1_000) and kept(small) == 1
    add(small, b"z" * 200)  # to the last byte
    add(globex, b"y" * 201)


def test_what_was_removed_or_never_kept_takes_no_room(small):
    first = add(small, b"x" * 900)
    assert state(small, add(small, b"MZ" + bytes(5_000), "tool.exe")).state == "failed"
    assert standing(small) == (900, 1_000)
    with acting_for(small):
        documents.remove(first, by="ann@example.com")
    add(small, b"y" * 1_000)


def test_parallel_uploads_never_take_more_room_than_there_is(small):
    def upload(n: int) -> bool:
        try:
            add(small, bytes([65 + n]) * 400)
        except StorageFull:
            return False
        return True

    with Threads(6) as threads:
        assert sorted(threads.map(upload, range(6))) == [False] * 4 + [True] * 2
    assert standing(small) == (800, 1_000) and kept(small) == 2


def test_a_document_keeps_its_file_when_the_queue_cannot_be_filled_after_the_commit(small, monkeypatch):
    def away() -> int:
        raise OperationalError("the plan cannot be read")

    monkeypatch.setattr(tokens, "_concurrency", away)
    with pytest.raises(OperationalError):
        add(small, b"x" * 400)
    assert standing(small) == (400, 1_000) and kept(small) == 1


def test_the_page_shows_what_is_used_of_what_is_allowed(small, make_staff, client_of):
    ann = client_of(small, make_staff(small, role="builder"))
    assert "0 bytes of 1000 bytes used" in ann.get(LIST).content.decode().replace("\xa0", " ")
    script = {"HX-Request": "true"}
    row = ann.post(LIST, {"files": [SimpleUploadedFile("a.txt", b"x" * 850)]}, headers=script).content.decode()
    assert 'id="storage" hx-swap-oob="true"' in row and "850\xa0bytes of" in row and "85 %" in row
    full = ann.post(LIST, {"files": [SimpleUploadedFile("b.txt", b"x" * 850)]}, headers=script)
    assert full.status_code == 409 and full.content.decode().startswith("There is no room for this file")
    some = [SimpleUploadedFile("b.txt", b"x" * 850), SimpleUploadedFile("c.txt", b"x" * 150)]
    page = ann.post(LIST, {"files": some}, follow=True).content.decode()
    assert "“b.txt” was not added. There is no room" in page and "The document is being read." in page
    assert "There is no room for more documents" in page
    with acting_for(small):
        assert set(Document.objects.values_list("file_name", flat=True)) == {"a.txt", "c.txt"}


def test_a_program_is_told_by_a_code(small, client_of):
    with acting_for(small):
        _, key = keys.create(name="robot", scopes=["documents:write"], by="ann@example.com")
    program = client_of(small)
    program.defaults["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    answer = program.post("/api/v1/documents/", {"file": SimpleUploadedFile("a.txt", b"x" * 1_001)})
    assert answer.status_code == 409
    assert answer.json() | {"text": ""} == {
        "code": "storage_full", "text": "", "used": 0, "allowed": 1_000, "bytes": 1_001,
    }  # fmt: skip
