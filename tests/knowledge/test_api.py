"""The REST door of documents."""

from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tenants.accounts import keys
from tenants.context import acting_for
from tests.knowledge.ingesting import ended, read_here, state, unheard_of

LIST = "/api/v1/documents/"


@pytest.fixture
def api(client_of):
    """``api(acme, "documents:read")``: a program with a key of these scopes."""

    def make(tenant, *scopes):
        client = client_of(tenant)
        with acting_for(tenant):
            _, key = keys.create(name="robot", scopes=list(scopes), by="ann@example.com")
        client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        return client

    return make


def test_a_program_uploads_a_file_and_follows_it_to_ready(acme, api, worker):
    program = api(acme, "documents:read", "documents:write")
    answer = program.post(LIST, {"file": SimpleUploadedFile("prices.md", b"# Prices\n\nA visit is 40 euro.")})
    body = answer.json()
    assert answer.status_code == 201 and body["state"] == "queued" and body["problem"] is None
    assert body["added_by"] == "API key robot"
    ended(acme, body["id"])
    body = program.get(f"{LIST}{body['id']}/").json()
    assert (body["state"], body["title"], body["total"]) == ("ready", "Prices", 1)
    assert program.delete(f"{LIST}{body['id']}/").status_code == 204
    assert program.get(f"{LIST}{body['id']}/").json()["code"] == "not_found"


def test_a_file_that_cannot_be_used_is_a_failed_document_that_says_why(acme, api):
    program = api(acme, "documents:write")
    answer = program.post(LIST, {"file": SimpleUploadedFile("nothing.txt", b"")})
    assert answer.status_code == 201 and answer.json()["problem"]["code"] == "empty"
    answer = program.post(LIST, {"name": "x"})
    assert answer.status_code == 400 and "file" in answer.json()["fields"]


def test_the_list_is_paged_by_key(acme, api):
    ids = [str(unheard_of(acme, "x", f"{n}.txt")) for n in range(3)][::-1]
    program = api(acme, "documents:read")
    first = program.get(f"{LIST}?limit=2").json()
    assert [one["id"] for one in first["results"]] == ids[:2]
    rest = program.get(f"{LIST}?limit=2&before={first['next']}").json()
    assert [one["id"] for one in rest["results"]] == ids[2:] and rest["next"] is None
    assert program.get(f"{LIST}?limit=0").status_code == 400
    assert program.get(f"{LIST}?before=x").status_code == 400


def test_scopes_and_tenants_are_held_apart(acme, globex, api, client_of):
    mine, theirs = unheard_of(acme, "x"), unheard_of(globex, "x")
    reader = api(acme, "documents:read")
    assert reader.get(f"{LIST}{mine}/").status_code == 200
    assert reader.post(LIST, {"file": SimpleUploadedFile("a.txt", b"a")}).status_code == 403
    assert reader.delete(f"{LIST}{mine}/").status_code == 403
    writer = api(acme, "documents:write")
    assert writer.get(LIST).status_code == 403
    for method in (writer.delete, reader.get):
        assert method(f"{LIST}{theirs}/").status_code == method(f"{LIST}{uuid4()}/").status_code == 404
    assert state(globex, theirs).state == "queued"
    assert client_of(acme).get(LIST).status_code == 401
    assert api(globex, "documents:read").get(f"{LIST}{mine}/").status_code == 404


def test_staff_use_it_by_their_rights(acme, make_staff, client_of):
    row = read_here(acme, unheard_of(acme, "Hello there.", "a.md"))
    responder = client_of(acme, make_staff(acme, role="responder"))
    assert responder.get(f"{LIST}{row.pk}/").json()["state"] == "ready"
    assert responder.delete(f"{LIST}{row.pk}/").status_code == 403
    assert client_of(acme, make_staff(acme, role="privacy")).get(LIST).status_code == 403
