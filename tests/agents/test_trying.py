"""Builders try an agent in the portal: its draft or its live version, by the same engine, apart from customers."""

import json
import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from agents import publishing
from agents.conversations.models import Conversation, Handoff, Message
from agents.models import AgentConfig
from metering.outbox.models import UsageEvent
from tenants import lifecycle
from tenants.context import acting_for, acting_for_platform
from tenants.models import Tenant
from tests.conftest import host_of, web_process
from tests.processes import NO_TLS


class Builder:
    """A member of staff in a browser, with the test chat of the default agent open."""

    def __init__(self, port: int, tenant, user, client):
        self.tenant, self.user = tenant, user
        with acting_for(tenant):
            self.agent = AgentConfig.objects.get(is_default=True)
        self.base = f"http://127.0.0.1:{port}/agents/{self.agent.pk}/"
        self.cookies = {name: morsel.value for name, morsel in client.cookies.items()}
        self.open()

    def open(self, version: str = "draft") -> str:
        """The panel."""
        answer = self.send("GET", f"test/?version={version}")
        page = answer.text
        if answer.status_code == 200:
            self.cookies |= dict(answer.cookies)
            self.csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
            self.conversation = re.search(r'data-conversation="([^"]+)"', page)[1]
        return page

    def send(self, method: str, path: str, headers=(), **body) -> httpx.Response:
        headers = self.headers() | dict(headers)
        return httpx.request(method, self.base + path, headers=headers, data=body or None, timeout=30, verify=NO_TLS)

    def headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"host": host_of(self.tenant), "x-csrftoken": getattr(self, "csrf", ""), "cookie": cookie}

    def ask(self, text: str, version: str = "draft", *, headers=(), **more) -> list[dict]:
        """The events of the answer."""
        body = {"conversation": self.conversation, "id": str(uuid4()), "text": text, **more}
        answer = self.send("POST", f"test/?version={version}", headers, **body)
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
        blocks = answer.text.strip().split("\n\n")
        return [json.loads(block.rpartition("data: ")[2]) for block in blocks]

    def events_of(self, text: str) -> Iterator[dict]:
        """The events of the draft's answer as they come."""
        body = {"conversation": self.conversation, "id": str(uuid4()), "text": text}
        options = {"headers": self.headers(), "data": body, "timeout": 30, "verify": NO_TLS}
        with httpx.stream("POST", f"{self.base}test/", **options) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))


@pytest.fixture
def builder(acme, server, make_staff, client_of):
    """``builder()``: a new builder of acme in a browser."""

    def make(tenant=acme, role: str = "builder") -> Builder:
        user = make_staff(tenant, role=role)
        return Builder(server, tenant, user, client_of(tenant, user))

    return make


def change(builder: Builder, **fields) -> None:
    with acting_for(builder.tenant):
        publishing.save_draft(builder.agent, by="a test", **fields)


def test_the_draft_answers_before_it_is_published_and_the_live_version_beside_it(builder):
    ann = builder()
    change(ann, name="Nora the draft", greeting="A new greeting")
    assert "A new greeting" in ann.open("draft")
    drafted = ann.ask("Hello?", "draft")
    assert (drafted[0]["type"], drafted[-1]["type"], drafted[-1]["outcome"]) == ("accepted", "turn.finished", "done")
    assert drafted[-1]["message"]["author"] == "Nora the draft"
    assert "A new greeting" not in ann.open("live")
    assert ann.ask("Hello?", "live")[-1]["message"]["author"] == ann.agent.name


def test_an_agent_that_was_never_published_can_be_tried(builder):
    ann = builder()
    with acting_for(ann.tenant):
        fresh = AgentConfig.objects.create(name="Fresh", instructions="Be kind.", is_default=False)
    ann.base = ann.base.replace(str(ann.agent.pk), str(fresh.pk))
    ann.open()
    assert ann.ask("Hello?")[-1]["message"]["author"] == "Fresh"
    assert ann.send("GET", "test/?version=live").status_code == 404


def test_it_is_kept_apart_from_customers_but_its_tokens_are_counted(builder):
    ann = builder()
    ann.ask("Hello?")
    with acting_for(ann.tenant):
        assert [row.channel for row in Conversation.objects.all()] == ["test"]
        assert UsageEvent.objects.filter(payload__kind="model").count() == 1
    ann.ask("I want to talk to a person, please")
    with acting_for(ann.tenant):
        told = Message.objects.filter(role="system")
        assert not Handoff.objects.exists() and all("test chat" in message.text for message in told)


def test_the_conversation_goes_on_after_a_reload_until_it_is_started_over(builder):
    ann = builder()
    ann.ask("First question?")
    again = ann.open()
    assert "First question?" in again
    anew = ann.send("POST", "test/new/?version=draft").text
    assert "First question?" not in anew and ann.conversation not in anew
    assert "First question?" not in ann.open()


def test_a_stream_that_broke_off_goes_on_and_an_id_sent_twice_is_one_question(builder):
    ann = builder()
    identifier = str(uuid4())
    finished = ann.ask("Hello?", id=identifier)[-1]
    again = ann.ask("Hello?", id=identifier, headers={"last-event-id": f"{finished['turn']}:1:1"})
    assert [event["type"] for event in again] == ["turn.finished"]
    with acting_for(ann.tenant):
        assert Message.objects.filter(role="user").count() == 1


def test_an_answer_is_stopped_and_keeps_what_was_said(acme, make_staff, client_of):
    user = make_staff(acme, role="builder")
    with web_process(OFFLINE_TOKEN_SECONDS="0.3") as port:  # the answer must still be coming when it is stopped
        ann = Builder(port, acme, user, client_of(acme, user))
        said = []
        for event in ann.events_of("Hello?"):
            said += [event["text"]] if event["type"] == "delta" else []
            if event["type"] == "delta" and len(said) == 1:
                body = {"conversation": ann.conversation, "turn": event["turn"]}
                assert ann.send("POST", "test/stop/", **body).json() == {"stopped": True}
    assert (event["type"], event["outcome"]) == ("turn.finished", "stopped")
    assert event["message"]["text"].strip() == "".join(said).strip()


def test_what_cannot_be_asked_is_refused_in_words_with_the_questions_id(builder):
    ann = builder()
    identifier = str(uuid4())
    body = {"conversation": ann.conversation, "id": identifier}
    long = ann.send("POST", "test/", **body, text="x" * 8_001)
    assert (long.status_code, long.json()["code"], long.json()["id"]) == (400, "message_too_long", identifier)
    assert ann.send("POST", "test/", **body, text=" ").json()["code"] == "empty_message"
    nonsense = ann.send("POST", "test/", conversation="x", id="y", text="z")
    assert (nonsense.status_code, nonsense.json()["code"]) == (400, "bad_input")


def test_a6_colleagues_and_strangers_cannot_reach_it(builder, globex):
    ann, bob, eve = builder(), builder(), builder(globex)
    finished = ann.ask("My secret question")[-1]
    assert "My secret question" not in bob.open()
    question = {"conversation": ann.conversation, "id": str(uuid4()), "text": "Mine now?"}
    refused = bob.send("POST", "test/", **question)
    assert (refused.status_code, refused.json()["code"]) == (404, "no_conversation")
    assert bob.send("POST", "test/stop/", conversation=ann.conversation, turn=finished["turn"]).status_code == 404
    eve.base = ann.base
    for method, path in (("GET", "test/"), ("POST", "test/"), ("POST", "test/stop/"), ("POST", "test/new/")):
        assert eve.send(method, path, **question, turn=finished["turn"]).status_code == 404
    with acting_for(ann.tenant):
        assert Message.objects.filter(role="user").count() == 1


ROLES = {"owner": True, "admin": True, "builder": True, "analyst": False, "responder": False, "privacy": False}


@pytest.mark.parametrize(("role", "may"), ROLES.items())
def test_b11_who_may_edit_agents_may_try_them(acme, make_staff, client_of, role, may):
    with acting_for(acme):
        agent = AgentConfig.objects.get(is_default=True)
    browser = client_of(acme, make_staff(acme, role=role))
    assert browser.get(f"/agents/{agent.pk}/test/").status_code == (200 if may else 403)
    page = browser.get(f"/agents/{agent.pk}/").content.decode()
    assert ("Test chat" in page) == may


def test_while_the_tenant_is_paused_nothing_is_asked(acme, make_staff, client_of):
    browser = client_of(acme, make_staff(acme, role="builder"))
    with acting_for(acme):
        agent = AgentConfig.objects.get(is_default=True)
    with acting_for_platform("test"):
        lifecycle.suspend(Tenant.objects.get(pk=acme.id), by="a test", reason="a test")
    body = {"conversation": str(uuid4()), "id": str(uuid4()), "text": "Hello?"}
    assert browser.post(f"/agents/{agent.pk}/test/", body).status_code == 302
    with acting_for(acme):
        assert not Message.objects.exists()
