"""The usage page and API: what a tenant used, and nothing of anybody else's."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from metering import clock, limits, usage
from metering.models import UsageRecord
from metering.outbox import events
from platform_site.errors import BadInput
from tenants.accounts import keys
from tenants.context import acting_for
from tenants.ids import uuid7


def use(tenant, *, model="openai/gpt-4o-mini", tokens_in=100, tokens_out=20, cost="0.5", at=None) -> None:
    with acting_for(tenant):
        UsageRecord.objects.create(
            tenant_id=tenant.id, event_id=uuid7(), occurred_at=at or datetime.now(UTC), kind="model",
            provider=model.split("/")[0], model=model, input_tokens=tokens_in, output_tokens=tokens_out,
            certainty="exact", cost=Decimal(cost),
        )  # fmt: skip


@pytest.fixture
def middle_of_a_month(monkeypatch):
    """10 November 2026, noon."""
    now = datetime(2026, 11, 10, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: now)
    return now


def test_staff_see_meters_totals_and_the_newest_uses_of_their_own(acme, globex, make_staff, client_of):
    for number in range(3):
        use(acme, tokens_in=1_000 + number)
    use(acme, model="anthropic/claude", cost="1.25")
    use(globex, model="openai/globex-only")
    page = client_of(acme, make_staff(acme, "analyst")).get("/usage/")
    text = page.content.decode()
    assert page.status_code == 200
    assert "3,183 of 10,000,000" in text and "of 500,000" in text and "of 50" in text
    assert "3,003" in text and "$1.50" in text and "anthropic/claude" in text
    assert "globex-only" not in text


def test_the_page_takes_few_queries_however_much_was_used(acme, make_staff, client_of):
    client = client_of(acme, make_staff(acme, "owner"))
    client.get("/usage/")
    counts = []
    for uses in (1, 12):
        for number in range(uses):
            use(acme, model=f"openai/{number}")
        with CaptureQueriesContext(connections["default"]) as queries:
            client.get("/usage/")
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 8


def test_roles_without_the_right_are_told_so(acme, make_staff, client_of):
    assert client_of(acme, make_staff(acme, "responder")).get("/usage/").status_code == 403
    assert client_of(acme).get("/usage/").status_code == 302


def test_programs_read_usage_with_a_key_of_that_scope(acme, globex, client_of):
    use(acme)
    use(acme, at=datetime.now(UTC) - timedelta(days=70))
    with acting_for(acme):
        _, key = keys.create(name="reports", scopes=["usage:read"], by="a test")
        _, other = keys.create(name="documents", scopes=["documents:read"], by="a test")
    client = client_of(acme)
    answer = client.get("/api/v1/usage/", headers={"authorization": f"Bearer {key}"}).json()
    assert answer["period"]["name"] == "month" and answer["period"]["time_zone"] == "UTC"
    assert answer["totals"] == {
        "uses": 1, "input_tokens": 100, "output_tokens": 20, "cached_tokens": 0, "cost": "0.50000000",
    }  # fmt: skip
    assert [one["model"] for one in answer["by_model"]] == ["openai/gpt-4o-mini"]
    assert client.get("/api/v1/usage/?period=x", headers={"authorization": f"Bearer {key}"}).status_code == 400
    assert client.get("/api/v1/usage/", headers={"authorization": f"Bearer {other}"}).status_code == 403
    assert client_of(globex).get("/api/v1/usage/", headers={"authorization": f"Bearer {key}"}).status_code == 401


def test_a_day_ends_at_the_tenants_midnight(acme, middle_of_a_month):
    from dataclasses import replace

    with acting_for(replace(acme, timezone="Pacific/Auckland")):  # 01:00 on the 11th there
        today = usage.period("today")
    assert today.start.astimezone(UTC) == datetime(2026, 11, 10, 11, tzinfo=UTC)
    assert today.end - today.start == timedelta(days=1)
    with acting_for(acme), pytest.raises(BadInput):
        usage.period("year")


@pytest.mark.parametrize(
    ("used", "says"),
    [
        (0, "Nothing has been used"),
        (1_000_000, "about 3,157,895 tokens by the end of the month"),
        (5_000_000, "used up on 20 November"),
        (10_000_000, "Answers continue on 1 December"),
    ],
)
def test_the_forecast_says_where_it_is_heading(acme, middle_of_a_month, used, says):
    if used:
        use(acme, tokens_in=used, tokens_out=0, at=middle_of_a_month - timedelta(days=5))
    with acting_for(acme):
        assert says in usage.forecast()


def test_the_meters_count_as_the_limits_do(acme):
    use(acme, tokens_in=400, tokens_out=100)
    with acting_for(acme):
        events.record(event_id=uuid7(), kind="model", model="a/b", input_tokens=5, output_tokens=5, certainty="exact")
        events.record(event_id=uuid7(), kind="embedding", model="a/b", input_tokens=9, output_tokens=0,
                      certainty="exact")  # fmt: skip
        limits.reserve(turn_id=uuid4(), conversation_id=uuid4(), tokens=1)
        month, hour, sessions = usage.meters()
    assert (month.used, hour.used, sessions.used) == (510, 510, 1)
