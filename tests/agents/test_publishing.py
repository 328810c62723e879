"""Drafts and published versions."""

import asyncio
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from django.core.exceptions import ValidationError

from agents import publishing, tools, verticals
from agents.models import INSTRUCTION_CHARACTERS, AgentConfig, AgentVersion
from agents.turns import renewal
from knowledge import bases
from metering import plans
from metering.models import check_models
from platform_site.errors import BadInput, Conflict, NotFound
from tenants import cache
from tenants.context import acting_for, acting_for_platform, run_for
from tenants.models import AuditEvent
from tests.conftest import until
from tests.metering.planned import put_on_plan
from tests.threads import Threads


def draft_of(tenant) -> AgentConfig:
    with acting_for(tenant):
        return AgentConfig.objects.get(is_default=True)


def live_greeting(tenant) -> str:
    with acting_for(tenant):
        return publishing.live_version().greeting


def publish(tenant, **fields) -> AgentVersion:
    with acting_for(tenant):
        agent = publishing.save_draft(AgentConfig.objects.get(is_default=True), by="elin@acme.example", **fields)
        return publishing.publish(agent, by="elin@acme.example", note="A reason")


def test_a_new_tenants_agent_is_live_and_reads_its_first_knowledge_base(acme):
    with acting_for(acme):
        version, base = publishing.live_version(), bases.ensure_default()
    assert (version.number, version.knowledge_bases) == (1, [str(base.pk)])
    assert version.tools == ["current_time", "request_human"]


@pytest.mark.parametrize("name", verticals.PACKS)
def test_every_pack_can_be_published_as_it_stands(name):
    pack = verticals.PACKS[name]
    settings = {
        "name": pack.name, "greeting": pack.greeting, "notice": pack.notice, "instructions": pack.instructions,
        "tools": list(pack.tools), "suggestions": list(pack.suggestions),
    }  # fmt: skip
    AgentConfig(**settings).clean_fields(exclude=["tenant"])
    assert set(pack.tools) <= set(tools.registered())
    assert len(pack.suggestions) <= 4 and len(pack.instructions) < INSTRUCTION_CHARACTERS / 2
    for careful in ("{{agent_name}}", "{{company}}", "{{today}}", "only from the passages", "a person", "never do"):
        assert careful in pack.instructions, careful


def test_a_draft_reaches_nobody_until_it_is_published_and_then_at_once(acme, globex):
    before, stranger = live_greeting(acme), live_greeting(globex)
    with acting_for(acme):
        publishing.save_draft(AgentConfig.objects.get(), by="elin@acme.example", greeting="Hi there")
    assert live_greeting(acme) == before
    version = publish(acme)
    assert (version.number, live_greeting(acme)) == (2, "Hi there")
    assert live_greeting(globex) == stranger
    with acting_for(acme):
        actions = list(AuditEvent.objects.filter(details__agent=str(version.agent_id)).values_list("action", "actor"))
        assert actions[-2:] == [("agent.edited", "elin@acme.example"), ("agent.published", "elin@acme.example")]
        assert AgentVersion.objects.get(number=1).greeting == before


def test_a_version_of_another_process_is_live_within_the_caches_seconds(acme, monkeypatch):
    monkeypatch.setattr(cache, "LIFETIME_SECONDS", 0.3)
    live_greeting(acme)
    with acting_for(acme):
        agent = AgentConfig.objects.get()
        settings = {name: getattr(agent, name) for name in AgentConfig.SETTINGS} | {"greeting": "From elsewhere"}
        AgentVersion.objects.create(agent=agent, number=2, published_by="x", **settings)
    assert until(lambda: live_greeting(acme) == "From elsewhere", seconds=2)


async def test_what_expires_soon_is_read_again_after_an_answer(acme, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(cache, "time", SimpleNamespace(monotonic=lambda: now))
    await run_for(acme, publishing.live_version)
    await run_for(acme, plans.allowances)
    assert not publishing.expires_soon(acme.id) and not plans.expires_soon(acme.id)
    for _ in range(2):
        now += cache.LIFETIME_SECONDS * 0.6
        assert publishing.expires_soon(acme.id) and plans.expires_soon(acme.id)
        for _ in range(3):
            renewal.begin(acme)
        await asyncio.to_thread(until, lambda: not publishing.expires_soon(acme.id) and not plans.expires_soon(acme.id))
        await asyncio.to_thread(until, lambda: not renewal._renewing)


def test_parallel_publishers_take_one_number_each(acme):
    def number_of(n: int) -> int:
        return publish(acme, greeting=f"Hello {n}").number

    with Threads(4) as threads:
        assert sorted(threads.map(number_of, range(6))) == [2, 3, 4, 5, 6, 7]


def test_operators_edit_and_publish_in_platform_work(acme, globex):
    live_greeting(acme)
    with acting_for_platform("a test"):
        agent = AgentConfig.objects.get(tenant_id=acme.id)
        publishing.save_draft(agent, by="op@platform.example", greeting="From the operator")
        version = publishing.publish(agent, by="op@platform.example")
    assert (version.tenant_id, version.number) == (acme.id, 2)
    assert live_greeting(acme) == "From the operator"
    assert live_greeting(globex) != "From the operator"


def test_one_tenant_can_neither_change_nor_publish_nor_meet_anothers_agent(acme, globex):
    theirs = draft_of(globex)
    with acting_for(acme):
        for attempt in (
            lambda: publishing.save_draft(theirs, by="x", greeting="Taken over"),
            lambda: publishing.publish(theirs, by="x"),
            lambda: publishing.live_version(theirs.pk),
        ):
            with pytest.raises(NotFound):
                attempt()
    assert draft_of(globex).greeting == theirs.greeting


def test_of_two_who_saw_the_same_draft_the_second_is_told_by_whom(acme):
    seen = draft_of(acme)
    with acting_for(acme):
        publishing.save_draft(seen, by="ann@acme.example", expected_updated_at=seen.updated_at, greeting="Ann's")
        with pytest.raises(Conflict) as told:
            publishing.save_draft(seen, by="bea@acme.example", expected_updated_at=seen.updated_at, greeting="Bea's")
    assert told.value.details["by"] == "ann@acme.example"
    assert draft_of(acme).greeting == "Ann's"


UNUSABLE = [
    {"name": ""}, {"notice": ""}, {"notice": "x" * 161}, {"instructions": "x" * (INSTRUCTION_CHARACTERS + 1)},
    {"greeting": "x" * 501},
]  # fmt: skip


def test_what_cannot_be_used_is_refused_and_nothing_is_stored(acme):
    before = draft_of(acme)
    with acting_for(acme):
        for fields in UNUSABLE:
            with pytest.raises(BadInput) as told:
                publishing.save_draft(before, by="x", **fields)
            assert set(told.value.details["fields"]) == set(fields)
        AgentConfig.objects.create(name="Second", instructions="x")
        with pytest.raises(BadInput, match="already used"):
            publishing.save_draft(before, by="x", name="Second")
    assert draft_of(acme).updated_at == before.updated_at


def test_an_agent_that_was_never_published_cannot_be_met(acme):
    with acting_for(acme):
        agent = AgentConfig.objects.create(name="Second", instructions="x")
        with pytest.raises(publishing.NotPublished):
            publishing.live_version(agent.pk)


@pytest.mark.parametrize(
    "model",
    [
        "oobabooga/http://127.0.0.1:8080", "ollama/llama3", "huggingface/https://evil.example/x", "anthropic/claude",
        "gpt-4o", "openai/http://127.0.0.1", "openai//evil.example", "openai/", "openai/gpt-4.1 ", "openai/x\ny", "/x",
        "openai/gpt-5", "offline/demo",
    ],
)  # fmt: skip
def test_c7_a_tenant_names_no_model_that_its_plan_does_not_list(acme, settings, model):
    settings.DEFAULT_MODEL = "openai/gpt-4o-mini"
    put_on_plan(acme, model_names="openai/gpt-4.1\r\nopenai/ft:gpt-4o:acme::a1\n")
    with acting_for(acme):
        agent = AgentConfig.objects.get()
        with pytest.raises(BadInput, match="openai/gpt-4.1, openai/ft:gpt-4o:acme::a1") as refused:
            publishing.save_draft(agent, by="elin@acme.example", model=model)
        assert "model" in refused.value.details["fields"]
        for known in ("openai/gpt-4.1", "openai/ft:gpt-4o:acme::a1", ""):
            publishing.save_draft(agent, by="elin@acme.example", model=known)
    with acting_for_platform("a test"):  # an operator knows what the installation has keys for
        publishing.save_draft(agent, by="op@platform.example", model="anthropic/claude")
    assert publish(acme, model="anthropic/claude", greeting="What was there stays").model == "anthropic/claude"


def test_a_plan_that_lists_no_models_has_those_of_the_installation_or_the_recommended_one(acme, settings):
    with acting_for(acme):
        agent = AgentConfig.objects.get()
        settings.TENANT_MODELS = ("openai/gpt-4.1",)
        publishing.save_draft(agent, by="elin@acme.example", model="openai/gpt-4.1")
        settings.TENANT_MODELS = ()
        publishing.save_draft(agent, by="elin@acme.example", model="")
        with pytest.raises(BadInput, match="Choose the recommended model"):
            publishing.save_draft(agent, by="elin@acme.example", model="openai/gpt-4.1")


@pytest.mark.parametrize(
    ("text", "is_fine"), [("openai/a\r\n azure/b-2\n", True), ("", True), ("gpt-4o", False), ("a/http://x", False)]
)
def test_a_plan_takes_names_of_models_only(text, is_fine):
    with nullcontext() if is_fine else pytest.raises(ValidationError, match="no name of a model"):
        check_models(text)
