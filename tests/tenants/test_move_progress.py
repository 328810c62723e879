"""What an operator is shown of a move, computed from its row."""

import io
from datetime import UTC, datetime

import pytest
from django.core.management.base import CommandError, OutputWrapper

from tenants.models import Move
from tenants.moves import progress, showing

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
COPYING = {"copy_began": BEGAN.timestamp(), "rows": 500, "of_rows": 2_000, "bytes": 10_000_000, "of_bytes": 40_000_000}


def after(seconds: int) -> datetime:
    return datetime.fromtimestamp(BEGAN.timestamp() + seconds, UTC)


def states(facts) -> str:
    return " ".join(step.state for step in facts.steps)


def test_while_rows_are_copied_rate_and_time_left_are_told():
    facts = progress.facts(Move(state="copying", progress=COPYING), after(5))
    assert states(facts) == "done done now next next next next next"
    assert (facts.bytes_per_second, facts.seconds_left, facts.percent) == (2_000_000, 15.0, 25)
    assert (facts.rows, facts.of_rows) == (500, 2_000)


def test_before_the_copying_nothing_is_guessed():
    facts = progress.facts(Move(state="planned", progress={}))
    assert states(facts) == "now next next next next next next next"
    assert (facts.bytes_per_second, facts.seconds_left, facts.percent) == (None, None, 0)


@pytest.mark.parametrize("state", ["failed", "rolled_back"])
def test_a_move_that_ended_early_shows_where(state):
    facts = progress.facts(Move(state=state, progress=COPYING | {"reached": "frozen"}), after(5))
    assert states(facts) == "done done done failed next next next next"
    assert facts.seconds_left is None


def test_a_finished_move_is_whole():
    facts = progress.facts(Move(state="done", progress=COPYING | {"copy_ended": after(4).timestamp()}), after(500))
    assert states(facts) == "done " * 7 + "done"
    assert (facts.percent, facts.bytes_per_second) == (100, 2_500_000)
    assert facts.steps[0] == ("Planned", "done")


def test_a_copy_larger_than_estimated_never_shows_more_than_all():
    facts = progress.facts(Move(state="frozen", progress=COPYING | {"bytes": 50_000_000, "way": "lock"}), after(5))
    assert (facts.percent, facts.of_bytes) == (99, 50_000_000)
    assert facts.steps[3].name == "Copying; writes wait"


def test_a_terminal_is_told_step_rows_bytes_rate_and_time_left():
    facts = progress.facts(Move(state="copying", progress=COPYING), after(5))
    assert showing.line(facts) == (
        "Copying while the tenant works: [#####...............] 25 %, 500 of 2,000 rows, "
        "10.0 MB of 40.0 MB, 2.0 MB/s, 15 s left"
    )
    assert showing.line(progress.facts(Move(state="planned", progress={}))) == "Planned"


def test_whoever_interrupts_a_command_hears_that_the_move_goes_on():
    move = Move()
    refused = pytest.raises(CommandError, match=f"goes on with it .* move_resume {move.pk.hex[-12:]}")
    with refused, showing.shown(move, OutputWrapper(io.StringIO())):
        raise KeyboardInterrupt
