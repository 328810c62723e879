"""Running tools: what a model may ask for, and what it gets back."""

import re
import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agents import tools
from agents.tools import Tool, ToolResult, builtin
from platform_site.errors import BadInput
from tenants.context import TenantRef, acting_for, current

# Ids that no tenant of other tests has
ACME = TenantRef(10**12 + 1, "acme", "Acme", "t_1", "r_1", "shared_1_v1", timezone="Pacific/Kiritimati")
GLOBEX = TenantRef(10**12 + 2, "globex", "Globex", "t_2", "r_2", "shared_1_v1", timezone="America/New_York")


@pytest.fixture
def offer(monkeypatch):
    """``offer(function)``: the function is a tool called "extra"; returns what running it gives."""

    def run(function, arguments=None, **parameters):
        schema = {"type": "object", "properties": parameters, "additionalProperties": False}
        extra = Tool("extra", "An extra tool.", schema, "Working", False, function)
        monkeypatch.setattr(builtin, "TOOLS", (*builtin.TOOLS, extra))
        tools._validator.cache_clear()
        with acting_for(ACME):
            return tools.run("extra", {} if arguments is None else arguments)

    return run


def test_tools_are_described_as_a_model_expects_it():
    (schema,) = tools.schemas(["no_such_tool", "current_time"])
    assert schema["type"] == "function"
    assert schema["function"]["name"] == "current_time"
    assert schema["function"]["parameters"] == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize("tool", tools.registered().values(), ids=lambda tool: tool.name)
def test_every_tool_is_usable_and_shown_to_people(tool):
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,40}", tool.name)
    assert tool.label
    assert tool.parameters["additionalProperties"] is False


@pytest.mark.parametrize("tenant", [ACME, GLOBEX], ids=lambda tenant: tenant.slug)
def test_the_time_is_that_of_the_tenants_place(tenant):
    with acting_for(tenant):
        result = tools.run("current_time", {})
    now = datetime.now(UTC).astimezone(ZoneInfo(tenant.timezone))
    assert result.ok
    assert f"{now:%A}" in result.content
    assert now.date().isoformat() in result.content
    assert tenant.timezone in result.content


def test_an_unknown_timezone_falls_back_to_utc():
    with acting_for(TenantRef(3, "x", "X", "t_3", "r_3", "shared_1_v1", timezone="Mars/Olympus")):
        assert "(UTC)" in tools.run("current_time", {}).content


def test_asking_for_a_person_marks_the_handoff():
    with acting_for(ACME):
        result = tools.run("request_human", {})
    assert result.ok
    assert '"handoff": true' in result.content


def test_c4_an_unknown_tool_is_answered_not_raised():
    assert tools.run("rm_rf", {}) == ToolResult(False, "There is no such tool.")


@pytest.mark.parametrize("arguments", [{"tenant": "globex"}, {"count": "many"}, {"count": 11}, ["count"], None])
def test_c4_arguments_that_do_not_fit_reach_no_tool(offer, arguments):
    ran = []
    arguments = [None] if arguments is None else arguments
    result = offer(lambda given: ran.append(given) or {}, arguments, count={"type": "integer", "maximum": 10})
    assert not result.ok
    assert result.content.startswith("The arguments do not fit: $")
    assert len(result.content) < 350
    assert not ran


def test_a_tool_acts_for_the_tenant_whose_turn_it_is(offer):
    assert offer(lambda given: {"tenant": current().slug, "when": datetime(2026, 1, 2, tzinfo=UTC)}) == ToolResult(
        True, '{"tenant": "acme", "when": "2026-01-02T00:00:00Z"}'
    )


def test_what_a_tool_says_about_its_failure_is_passed_on_and_nothing_else(offer, caplog):
    def refuse(given):
        raise BadInput("Room 7 does not exist.")

    def crash(given):
        raise ValueError("password=secret")

    assert offer(refuse) == ToolResult(False, "Room 7 does not exist.")
    assert offer(crash) == ToolResult(False, "The tool failed.")
    assert "tool failed" in caplog.text


def test_d6_a_result_that_is_too_long_is_cut_and_marked(offer):
    result = offer(lambda given: {"text": "ü" * tools.RESULT_BYTES})
    assert result.ok
    assert result.cut
    assert tools.RESULT_BYTES - 10 < len(result.content.encode()) <= tools.RESULT_BYTES
    assert result.content.endswith("This is its beginning.]")


def test_d6_a_result_that_is_no_json_is_a_failure(offer):
    nested = {}
    for _ in range(100_000):
        nested = {"in": nested}
    for value in (object(), {"x": object()}, nested):
        assert offer(lambda given, value=value: value) == ToolResult(False, "The tool failed.")


def test_d6_a_tool_that_hangs_is_given_up(offer, monkeypatch):
    monkeypatch.setattr(tools, "TOOL_SECONDS", 0.2)
    release = threading.Event()
    assert offer(lambda given: release.wait(20) or {}) == ToolResult(False, "The tool took too long to answer.")
    release.set()
