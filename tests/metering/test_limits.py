"""metering.limits: who is let through, exactly, whatever happens to the store."""

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from metering import counting, limits, plans
from metering.errors import LimitReached
from metering.models import Plan, Subscription
from metering.outbox import events
from tenants import store
from tenants.context import acting_for, acting_for_platform
from tenants.ids import uuid7
from tenants.keys import redis_key
from tests.conftest import repeats, until
from tests.processes import ROOT
from tests.threads import Threads

pytestmark = pytest.mark.usefixtures("small_plan")
AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def small_plan(acme):
    """1,000 tokens an hour, 5,000 a month, 3 sessions; acme is on it."""
    with acting_for_platform("test"):
        plan = Plan.objects.create(
            code=f"small-{uuid4().hex[:8]}", name="Small", tokens_per_hour=1_000, tokens_per_month=5_000, sessions=3
        )
    put_on(plan, acme)
    return plan


def put_on(plan: Plan, tenant) -> None:
    with acting_for_platform("test"):
        Subscription.objects.filter(tenant_id=tenant.id).update(plan=plan)
    plans.forget()


def change(plan: Plan, **fields) -> None:
    with acting_for_platform("test"):
        Plan.objects.filter(pk=plan.pk).update(**fields)
    plans.forget()


def claim(tenant, tokens, *, turn=None, conversation=None):
    with acting_for(tenant):
        return limits.reserve(turn_id=turn or uuid4(), conversation_id=conversation or uuid4(), tokens=tokens)


def refusal(tenant, tokens, **ids) -> dict:
    with pytest.raises(LimitReached) as caught:
        claim(tenant, tokens, **ids)
    return caught.value.as_dict()


def spend(tenant, *, tokens, conversation=None) -> bool:
    """True if reserve() was granted."""
    try:
        return bool(claim(tenant, tokens, conversation=conversation))
    except LimitReached:
        return False


def record(tenant, tokens, **more) -> None:
    with acting_for(tenant):
        events.record(event_id=uuid7(), kind="model", model="openai/m", input_tokens=tokens - 1, output_tokens=1,
                      certainty="exact", **more)  # fmt: skip


def counters(tenant) -> dict[str, int]:
    """The hour's and the month's tokens as Valkey has them."""
    with acting_for(tenant):
        fields = {key.decode(): value.decode() for key, value in store.client().hgetall(redis_key("lim")).items()}
    sums = {kind: sum(int(v) for k, v in fields.items() if k.startswith(kind + ":")) for kind in "hm"}
    assert int(fields["hour"]) == sums["h"]  # the newest hour, added up as it goes
    return sums


def pass_time(tenant, *, minutes: int) -> None:
    """Make everything in the counters so much older. minutes: a multiple of five."""
    with acting_for(tenant):
        key, buckets = redis_key("lim"), minutes // 5
        fields = {name.decode(): value.decode() for name, value in store.client().hgetall(key).items()}
        for name in [name for name in fields if name.startswith("h:")]:
            fields[f"h:{int(name[2:]) - buckets}"] = fields.pop(name)
        for name in [name for name in fields if name.startswith("r:")]:
            tokens, bucket, rest = fields[name].split(":", 2)
            fields[name] = f"{tokens}:{int(bucket) - buckets}:{rest}"
        fields["newest"] = str(int(fields["newest"]) - buckets)
        with store.client().pipeline(transaction=True) as together:
            together.delete(key).hset(key, mapping=fields).execute()


@contextmanager
def commands_of(tenant):
    """What is sent to Valkey over the tenant's keys inside the block; not what its scripts call there."""
    seen: list[str] = []
    with store.client().monitor() as monitor:
        yield seen
        store.client().echo(f"end of {tenant.slug}")
        while f"end of {tenant.slug}" not in (one := monitor.next_command())["command"]:
            if f"{{{tenant.id}}}" in one["command"] and one["client_type"] != "lua":
                seen.append(one["command"])


@contextmanager
def valkey_away(settings):
    before, settings.REDIS_URL = settings.REDIS_URL, AWAY
    store._forget()
    try:
        yield
    finally:
        settings.REDIS_URL = before
        store._forget()


def test_parallel_turns_never_pass_the_allowance(acme, globex, small_plan):
    put_on(small_plan, globex)
    with Threads(8) as threads:
        granted = list(threads.map(lambda _: spend(acme, tokens=400), range(8)))
    assert granted.count(True) == 2
    assert spend(globex, tokens=400)  # what one tenant spends is not taken from another


def test_parallel_processes_admit_exactly_the_allowance(acme, small_plan):
    change(small_plan, tokens_per_hour=100, sessions=50)
    command = [sys.executable, "-m", "tests.metering.spending", str(acme.id), str(repeats(5_000))]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    assert sum(int(process.communicate(timeout=100)[0]) for process in processes) == 100


def test_a_turn_asked_twice_gets_its_first_claim(acme):
    turn, conversation = uuid4(), uuid4()
    assert not claim(acme, 300, turn=turn, conversation=conversation).again
    second = claim(acme, 999, turn=turn, conversation=conversation)
    assert second.again and second.tokens == 300
    assert counters(acme) == {"h": 300, "m": 300}


def test_a_turn_of_no_tokens_is_a_mistake(acme):
    with pytest.raises(ValueError, match="at least one"):
        claim(acme, 0)


def test_the_refusal_names_the_allowance_and_when_it_is_free_again(acme, small_plan):
    claim(acme, 900)
    hour = refusal(acme, 200)
    assert (hour["code"], hour["what"]) == ("limit_reached", "tokens_per_hour")
    assert 3_300 <= hour["retry_after"] <= 3_900  # the hour's oldest five minutes leave it as a whole
    change(small_plan, tokens_per_hour=100_000)
    month = refusal(acme, 4_500)
    assert month["what"] == "tokens_per_month"
    until = datetime.fromisoformat(month["until"])
    assert (until.day, until.hour, until.tzinfo) == (1, 0, UTC) and until > datetime.now(UTC)
    assert counters(acme) == {"h": 900, "m": 900}


def test_the_hour_slides_by_five_minutes(acme):
    old, later = uuid4(), uuid4()
    claim(acme, 600, turn=old)
    with acting_for(acme):
        limits.settle(turn_id=old, tokens=600)
    pass_time(acme, minutes=30)
    claim(acme, 300, turn=later)
    assert 25 * 60 < refusal(acme, 200)["retry_after"] <= 35 * 60
    pass_time(acme, minutes=25)  # 11 buckets on; 12 if one ends while this runs
    assert not spend(acme, tokens=200)
    pass_time(acme, minutes=10)
    assert spend(acme, tokens=200)
    assert counters(acme) == {"h": 500, "m": 1100}
    with acting_for(acme):
        limits.settle(turn_id=later, tokens=100)
    assert counters(acme) == {"h": 300, "m": 900}


def test_sessions_are_conversations_with_a_running_turn(acme):
    ours = uuid4()
    turns = [uuid4(), uuid4()]
    for turn in turns:
        claim(acme, 10, turn=turn, conversation=ours)  # two turns of one conversation are one session
    assert spend(acme, tokens=10) and spend(acme, tokens=10)
    assert refusal(acme, 10)["what"] == "sessions"
    with acting_for(acme):
        assert limits.sessions_now() == 3
        limits.settle(turn_id=turns[0], tokens=5)
    assert not spend(acme, tokens=10)  # its other turn still runs
    with acting_for(acme):
        limits.settle(turn_id=turns[1], tokens=5)
    assert spend(acme, tokens=10)


def test_settling_corrects_the_claim_once(acme):
    turn = uuid4()
    claim(acme, 800, turn=turn)
    with acting_for(acme):
        for _ in range(3):
            limits.settle(turn_id=turn, tokens=100)
    assert counters(acme) == {"h": 100, "m": 100}
    with acting_for(acme):
        limits.settle(turn_id=turn, tokens=70, attempt=2)  # another attempt used tokens of its own
    assert counters(acme) == {"h": 170, "m": 170}


def test_a_dead_claim_lapses_and_a_late_settle_is_charged_in_full(acme, settings):
    settings.RESERVATION_SECONDS = 0.3
    turn = uuid4()
    claim(acme, 900, turn=turn)
    settings.RESERVATION_SECONDS = 180
    assert not spend(acme, tokens=900)
    with acting_for(acme):
        until(lambda: limits.sessions_now() == 0)
    assert spend(acme, tokens=400)  # given back
    with acting_for(acme):
        assert limits.sessions_now() == 1
        limits.settle(turn_id=turn, tokens=250)
        limits.settle(turn_id=turn, tokens=250)
    assert counters(acme) == {"h": 650, "m": 650}


def test_use_without_a_claim_is_charged_once(acme):
    claim(acme, 1)
    use = uuid4()
    with acting_for(acme):
        limits.add(use_id=use, tokens=200)
        limits.add(use_id=use, tokens=200)
    assert counters(acme)["m"] == 201


def test_a_warm_claim_is_one_round_trip_and_no_sql(acme):
    claim(acme, 1)
    with acting_for(acme), commands_of(acme) as sent, CaptureQueriesContext(connections["default"]) as queries:
        limits.reserve(turn_id=uuid4(), conversation_id=uuid4(), tokens=1)
    assert len(queries) == 0
    assert [command.split()[0] for command in sent] == ["EVALSHA"]


def test_counters_lost_are_filled_from_ledger_and_outbox(acme):
    record(acme, 700)
    claim(acme, 100)
    assert counters(acme) == {"h": 800, "m": 800}
    with acting_for(acme):
        store.client().delete(redis_key("lim"), redis_key("res"))
    assert not spend(acme, tokens=301)
    assert spend(acme, tokens=300)


def test_losing_the_counters_under_load_never_admits_more(acme, small_plan):
    change(small_plan, tokens_per_hour=400, sessions=50)

    def turn(number):
        if number % 40 == 20:
            with acting_for(acme):
                store.client().delete(redis_key("lim"), redis_key("res"))
        turn_id = uuid4()
        try:
            claim(acme, 10, turn=turn_id, conversation=turn_id)
        except LimitReached:
            return 0
        record(acme, 10)
        with acting_for(acme):
            limits.settle(turn_id=turn_id, tokens=10)
        return 10

    with Threads(4) as threads:
        used = sum(threads.map(turn, range(150)))
    assert 360 <= used <= 400 + 3 * 10  # claims in flight when the store was emptied are not in it


@pytest.mark.parametrize("settled", ["before the next claim", "after it"])
def test_use_that_meets_an_emptied_store_is_counted_once(acme, settled):
    turn = uuid4()
    claim(acme, 300, turn=turn)
    with acting_for(acme):
        store.client().delete(redis_key("lim"), redis_key("res"))
    record(acme, 200, turn_id=turn)
    if settled == "after it":
        claim(acme, 10)
    with acting_for(acme):
        limits.settle(turn_id=turn, tokens=200)
    claim(acme, 20)
    assert counters(acme)["m"] == 220 + 10 * (settled == "after it")


def test_counters_summed_before_the_store_was_emptied_are_not_taken(acme, monkeypatch):
    claim(acme, 1)
    counted = counting.counted

    def slowly():
        found = counted()
        if not emptied:
            emptied.append(True)
            with acting_for(acme):
                store.client().delete(redis_key("lim"), redis_key("res"))
            record(acme, 600)  # by another process, which filled the counters and spent meanwhile
        return found

    emptied: list[bool] = []
    with acting_for(acme):
        store.client().delete(redis_key("lim"), redis_key("res"))
    monkeypatch.setattr(counting, "counted", slowly)
    assert not spend(acme, tokens=401)
    assert spend(acme, tokens=400)


def test_a_claim_whose_use_was_filled_in_is_given_back_when_it_is_settled(acme, settings):
    turn = uuid4()
    claim(acme, 300, turn=turn)
    record(acme, 200, turn_id=turn)
    with valkey_away(settings), acting_for(acme):
        limits.settle(turn_id=uuid4(), tokens=1)  # lost, so the next claim fills the counters
    claim(acme, 10)
    assert counters(acme)["m"] == 300 + 200 + 10
    with acting_for(acme):
        limits.settle(turn_id=turn, tokens=200)
    assert counters(acme)["m"] == 200 + 10


def test_a_claim_that_is_settled_while_the_counters_are_filled_is_counted(acme, settings, monkeypatch):
    turn = uuid4()
    claim(acme, 300, turn=turn)
    counted = counting.counted

    def slowly():
        found = counted()
        record(acme, 200, turn_id=turn)  # by another process
        with acting_for(acme):
            limits.settle(turn_id=turn, tokens=200)
        return found

    with valkey_away(settings), acting_for(acme):
        limits.settle(turn_id=uuid4(), tokens=1)  # lost, so the next claim fills the counters
    monkeypatch.setattr(counting, "counted", slowly)
    claim(acme, 10)
    assert counters(acme)["m"] == 200 + 10


def test_without_valkey_the_ledger_admits_into_half_of_what_is_left(acme, settings):
    record(acme, 600)
    with valkey_away(settings):
        reservation = claim(acme, 200)
        assert not reservation.held
        assert refusal(acme, 201)["what"] == "tokens_per_hour"
        with acting_for(acme):
            limits.settle(turn_id=reservation.turn_id, tokens=150)  # does not raise


def test_what_was_not_settled_is_counted_when_valkey_is_back(acme, settings):
    turn = uuid4()
    claim(acme, 100)
    with valkey_away(settings):
        record(acme, 850)
        with acting_for(acme):
            limits.settle(turn_id=turn, tokens=850)
    assert not spend(acme, tokens=100)  # 100 claimed, 850 used meanwhile
    assert spend(acme, tokens=50)


def test_a_changed_plan_holds_from_the_next_claim(acme, small_plan):
    assert refusal(acme, 1_001)["what"] == "tokens_per_hour"
    change(small_plan, tokens_per_hour=2_000)
    assert spend(acme, tokens=1_001)
