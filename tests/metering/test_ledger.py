"""From the outbox to the ledger: exactly once, whoever dies, and never into another tenant's rows."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connections, transaction
from django.db.models import Sum

from metering import ledger, partitions, prices, tasks
from metering.models import PriceRule, UsageRecord
from metering.outbox import events, pending
from metering.outbox.models import UsageEvent
from tenants import store
from tenants.context import acting_for, acting_for_platform
from tenants.ids import uuid7
from tenants.transactions import atomic
from tests.conftest import until
from tests.threads import Threads


class Killed(BaseException):
    """Stands for kill -9: no handler of ours runs."""


@pytest.fixture
def only_ours_are_marked(empty_store):
    """Marks of our own: earlier tests' tenants are not looked through, and another test's worker sees none of ours."""
    store.client().set(pending.WHOLE, 1, ex=pending.WHOLE_SECONDS)


def record(tenant, *, event_id=None, model="openai/gpt-4o-mini", **more) -> None:
    with acting_for(tenant):
        events.record(
            event_id=event_id or uuid7(), kind="model", model=model, input_tokens=100, output_tokens=20,
            certainty="exact", **more,
        )  # fmt: skip


def lines(tenant) -> list[UsageRecord]:
    with acting_for(tenant):
        return list(UsageRecord.objects.order_by("occurred_at"))


def waiting(tenant) -> int:
    with acting_for(tenant):
        return UsageEvent.objects.count()


def relay_of(tenant) -> int:
    with acting_for(tenant):
        return ledger.relay_tenant()


def test_usage_reaches_the_ledger_once_with_its_columns(acme, globex, only_ours_are_marked):
    event_id, turn, agent = uuid7(), uuid4(), uuid4()
    record(acme, event_id=event_id, turn_id=turn, agent_id=agent, attempt=2, cached_tokens=7)
    tasks.relay()
    tasks.relay()
    (line,) = lines(acme)
    assert (line.event_id, line.turn_id, line.agent_id, line.attempt) == (event_id, turn, agent, 2)
    assert (line.provider, line.model) == ("openai", "openai/gpt-4o-mini")
    assert (line.input_tokens, line.output_tokens, line.cached_tokens, line.certainty) == (100, 20, 7, "exact")
    assert abs(line.occurred_at.timestamp() - datetime.now(UTC).timestamp()) < 60
    assert waiting(acme) == 0 and lines(globex) == []


def test_a_real_worker_relays_within_seconds(acme, worker):
    record(acme, model="offline/demo")  # the price list of other models takes a worker some seconds to load
    until(lambda: lines(acme), seconds=40)


def test_an_event_recorded_again_after_the_relay_is_the_same_line(acme):
    event_id = uuid7()
    for _ in range(2):
        record(acme, event_id=event_id)
        record(acme, event_id=event_id)
        relay_of(acme)
    assert len(lines(acme)) == 1


def test_usage_of_a_rolled_back_work_is_not_recorded(acme):
    with pytest.raises(ZeroDivisionError), acting_for(acme), atomic():
        record(acme)
        raise ZeroDivisionError
    relay_of(acme)
    assert lines(acme) == []


def test_negative_usage_is_a_mistake(acme):
    with acting_for(acme), pytest.raises(ValueError, match="negative"):
        events.record(event_id=uuid7(), kind="model", model="a/b", input_tokens=-1, output_tokens=0, certainty="exact")


@pytest.mark.parametrize("killed_at", ["before insert", "between insert and delete"])
def test_a_relay_killed_on_the_way_is_finished_by_the_next(acme, monkeypatch, killed_at, only_ours_are_marked):
    for _ in range(3):
        record(acme)

    def die(batch):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ledger, "_insert" if killed_at == "before insert" else "_delete", die)
        relay_of(acme)
    assert waiting(acme) == 3
    relay_of(acme)  # the mark was left on
    assert (waiting(acme), len(lines(acme))) == (0, 3)


def test_relays_at_once_move_each_event_once(acme, monkeypatch, only_ours_are_marked):
    monkeypatch.setattr(ledger, "BATCH", 7)  # many rounds, so that they meet
    for _ in range(60):
        record(acme)

    def marked_and_relayed(_):
        with acting_for(acme):
            pending.mark()
        return relay_of(acme)

    with Threads(4) as threads:
        list(threads.map(marked_and_relayed, range(8)))
    relay_of(acme)
    assert (waiting(acme), len(lines(acme))) == (0, 60)


def test_usage_without_a_mark_is_found_when_the_set_is_not_whole(acme, settings):
    before, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
    store._forget()
    record(acme)  # Valkey is away: the work that caused it does not fail
    settings.REDIS_URL = before
    store._forget()
    store.client().delete(pending.WHOLE)
    assert acme.id in pending.tenant_ids()
    assert relay_of(acme) == 1


def test_a_mark_that_names_no_tenant_goes(only_ours_are_marked):
    store.client().sadd(pending.MARKED, 999_999_999)
    tasks.relay()
    assert not store.client().sismember(pending.MARKED, 999_999_999)


def test_one_tenants_trouble_does_not_hold_back_the_others(acme, globex, monkeypatch, only_ours_are_marked):
    record(acme)
    record(globex)
    insert: Callable = ledger._insert

    def fails_for_acme(batch):
        with connections["default"].cursor() as cursor:
            cursor.execute("select current_setting('app.tenant_id')")
            if cursor.fetchone()[0] == str(acme.id):
                raise RuntimeError("acme's database is on fire")
        insert(batch)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_insert", fails_for_acme)
        tasks.relay()
    assert (len(lines(acme)), len(lines(globex))) == (0, 1)
    tasks.relay()
    assert len(lines(acme)) == 1


def test_the_dated_price_rule_counts_then_the_library_and_the_demo_is_free(acme, monkeypatch):
    model = f"openai/{uuid4().hex[:8]}"
    with acting_for_platform("test"):
        PriceRule.objects.create(model=model, valid_from=date(2020, 1, 1), input_per_million=9, output_per_million=9)
        PriceRule.objects.create(model=model, valid_from=date(2024, 1, 1), input_per_million=2, output_per_million=10)
        PriceRule.objects.create(model=model, valid_from=date(2999, 1, 1), input_per_million=7, output_per_million=7)
    prices.forget()
    monkeypatch.setattr(prices, "_pricer", lambda model, *tokens: Decimal("0.123456789"))
    for name in (model, "openai/other", "offline/demo"):
        record(acme, model=name)
    relay_of(acme)
    assert {line.model: line.cost for line in lines(acme)} == {
        model: Decimal("0.00040000"), "openai/other": Decimal("0.12345679"), "offline/demo": 0,
    }  # fmt: skip


def test_no_raw_sql_reads_or_writes_another_tenants_lines(acme, globex):
    record(acme)
    relay_of(acme)
    with acting_for(globex), connections["default"].cursor() as cursor:
        cursor.execute("select count(*) from metering_usagerecord where tenant_id = %s", [acme.id])
        assert cursor.fetchone() == (0,)
        for statement in (
            "insert into metering_usagerecord select gen_random_uuid(), now(), %s, 'model', 'x', 'x', '', 1, 1, 0, "
            "'exact', 0, null, null, 1, now()",
            "update metering_usagerecord set cost = 0 where tenant_id = %s",
            "delete from metering_usagerecord where tenant_id = %s",
            f"select count(*) from metering_usagerecord_{datetime.now(UTC):%Y_%m} where tenant_id = %s",
            "select count(*) from metering_usagerecord_rest where tenant_id = %s",
            "update metering_subscription set plan_id = 1 where tenant_id = %s",
        ):
            with pytest.raises(ProgrammingError, match="row-level security|permission denied"):
                cursor.execute(statement, [acme.id])
    assert len(lines(acme)) == 1


def test_a_month_that_had_no_partition_gets_one_with_its_rows(acme, monkeypatch):
    at = datetime(2101, 3, 9, tzinfo=UTC)
    with acting_for(acme):
        UsageRecord.objects.create(
            tenant_id=acme.id, occurred_at=at, kind="model", provider="x", model="x/y", input_tokens=1,
            output_tokens=1, certainty="exact", cost=0,
        )  # fmt: skip
    name = "metering_usagerecord_2101_03"
    owner = connections["owner"]
    try:
        partitions._make(owner, date(2101, 3, 1), date(2101, 4, 1))
        partitions.ensure_partitions(owner)
        with owner.cursor() as cursor:
            cursor.execute(f"select count(*) from {name} where tenant_id = %s", [acme.id])
            assert cursor.fetchone() == (1,)
        with acting_for(acme):
            assert UsageRecord.objects.aggregate(total=Sum("input_tokens"))["total"] == 1
    finally:
        with transaction.atomic(using="owner"), owner.cursor() as cursor:
            cursor.execute(f"drop table if exists {name}")
