"""Conversations over REST: a key, a conversation, an answer that streams as server-sent events."""

import json
from uuid import uuid4

import httpx
import pytest

from agents.conversations.models import Message, Turn
from tenants.accounts import keys
from tenants.context import acting_for
from tests.conftest import host_of
from tests.processes import NO_TLS

BASE = "/api/v1/conversations/"


@pytest.fixture
def call(acme, server):
    """``call(method, path, key=…, **kwargs)`` on acme's host of a real web process."""
    with acting_for(acme):
        _, key = keys.create(name="test", scopes=["conversations:write"], by="a test")

    def send(method: str, path: str, *, key: str = key, **kwargs) -> httpx.Response:
        headers = {"host": host_of(acme), "authorization": f"Bearer {key}", **kwargs.pop("headers", {})}
        return httpx.request(
            method, f"http://127.0.0.1:{server}{path}", headers=headers, timeout=30, verify=NO_TLS, **kwargs
        )

    return send


@pytest.fixture
def conversation(call) -> str:
    """The address of a new conversation's messages."""
    response = call("POST", BASE, json={"end_user": "customer-7"})
    assert response.status_code == 201
    return f"{BASE}{response.json()['id']}/messages/"


def events_of(response: httpx.Response) -> list[dict]:
    """The events of a text/event-stream."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.strip().split("\n\n")]
    assert all(json.loads(block["data"])["type"] == block["event"] for block in blocks)
    return [json.loads(block["data"]) for block in blocks]


def test_an_answer_streams_as_server_sent_events_and_is_stored(call, conversation, acme):
    response = call("POST", conversation, json={"text": "Hello?"}, headers={"accept": "text/event-stream"})
    assert response.headers["content-type"] == "text/event-stream"
    events = events_of(response)
    assert events[0]["type"] == "accepted" and events[-1]["type"] == "turn.finished"
    text = "".join(event["text"] for event in events if event["type"] == "delta")
    with acting_for(acme):
        assert [message.text for message in Message.objects.order_by("seq")] == ["Hello?", text]


def test_a_stream_that_broke_off_goes_on_after_the_last_event_that_was_seen(call, conversation):
    body, stream = {"id": str(uuid4()), "text": "Hello?"}, {"accept": "text/event-stream"}
    whole = events_of(call("POST", conversation, json=body, headers=stream))
    turn, message = whole[-1]["turn"], whole[-1]["message"]
    for last, kinds in [(f"{turn}:1:1", ["turn.finished"]), (f"{uuid4()}:1:1", ["accepted", "turn.finished"])]:
        again = events_of(call("POST", conversation, json=body, headers=stream | {"last-event-id": last}))
        assert [event["type"] for event in again] == kinds
        assert again[-1]["message"] == message


@pytest.mark.parametrize("last", ["", "x", "1:2", "x:1:1", "{turn}:0:1", "{turn}:1:-1", "{turn}:1:1:1"])
def test_a_last_event_that_is_none_of_ours_is_bad_input_and_starts_nothing(call, conversation, acme, last):
    headers = {"accept": "text/event-stream", "last-event-id": last.format(turn=uuid4()) or f"{uuid4()}:1:1"}
    body = {"text": "Hello?"} | ({"id": str(uuid4())} if last else {})  # without an id it would be another message
    assert call("POST", conversation, json=body, headers=headers).status_code == 400
    with acting_for(acme):
        assert Message.objects.count() == 0


def test_without_a_stream_the_finished_turn_is_the_answer(call, conversation):
    response = call("POST", conversation, json={"text": "Hello?"})
    assert response.json()["type"] == "turn.finished" and response.json()["outcome"] == "done"
    listed = call("GET", conversation).json()
    assert [message["role"] for message in listed["messages"]] == ["user", "agent"]
    assert listed["more"] is False


def test_i3_the_same_message_id_is_answered_once(call, conversation, acme):
    body = {"id": str(uuid4()), "text": "Hello?"}
    first, second = (call("POST", conversation, json=body).json() for _ in range(2))
    assert first["message"] == second["message"]
    with acting_for(acme):
        assert Turn.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [({}, "bad_input"), ({"text": ""}, "bad_input"), ({"text": "x" * 8_001}, "message_too_long"),
     ({"text": "  "}, "empty_message"), ({"id": "1", "text": "a"}, "bad_input"), ([], "bad_input")],
)  # fmt: skip
def test_a_bad_body_is_400_in_one_shape_and_changes_nothing(call, conversation, acme, body, code):
    response = call("POST", conversation, json=body)
    assert (response.status_code, response.json()["code"]) == (400, code)
    with acting_for(acme):
        assert Message.objects.count() == 0


def test_broken_json_is_400(call, conversation):
    response = call("POST", conversation, content=b"{", headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_b6_a_key_needs_its_scope_lives_until_it_expires_or_is_revoked(call, acme):
    with acting_for(acme):
        _, other = keys.create(name="other", scopes=["usage:read"], by="a test")
        row, revoked = keys.create(name="revoked", scopes=["conversations:write"], by="a test")
        keys.revoke(row.pk, by="a test")
    body = {"json": {"end_user": "x"}}
    assert call("POST", BASE, key=other, **body).status_code == 403
    assert call("POST", BASE, key=revoked, **body).status_code == 401
    assert call("POST", BASE, key="atr_1_x_y", **body).json()["code"] == "bad_key"
    assert call("POST", BASE, key="x", **body).status_code == 401


def test_the_schema_is_openapi_3_1_and_knows_every_first_endpoint(call):
    response = call("GET", "/api/v1/schema/?format=json")
    schema = response.json()
    assert schema["openapi"].startswith("3.1")
    paths = set(schema["paths"])
    assert {"/api/v1/conversations/", "/api/v1/documents/", "/api/v1/branding/", "/api/v1/usage/"} <= paths
    assert "text/event-stream" in json.dumps(schema["paths"]["/api/v1/conversations/{conversation}/messages/"])


def test_a_visitors_cookie_cannot_pretend_to_be_a_programs_user(call, conversation, acme, server):
    call("POST", conversation, json={"text": "secret question"})
    headers = {"host": host_of(acme), "cookie": "visitor=api:customer-7"}
    page = httpx.get(f"http://127.0.0.1:{server}/chat/", headers=headers, verify=NO_TLS)
    assert "secret question" not in page.text
