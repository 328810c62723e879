"""tenants.store: whoever shares the process's connections gets the answers to their own commands."""

import pytest
import redis

from tenants import store
from tests.conftest import until


def test_what_is_sent_ahead_is_answered_beside_other_commands(line_to_store):
    sent = store.Sent("ECHO", "ahead")
    assert store.client().echo("beside") == b"beside"
    assert sent.answer() == b"ahead"


def test_a_refused_command_sent_ahead_raises_and_leaves_the_connection_to_others(line_to_store):
    sent = store.Sent("EVAL", "return nonsense(", 0)
    with pytest.raises(redis.ResponseError):
        sent.answer()
    assert store.client().echo("next") == b"next"


def test_half_an_answer_is_left_to_nobody(line_to_store):
    line_to_store.cut_after = 3
    with pytest.raises(redis.ConnectionError):
        store.Sent("ECHO", "ahead").answer()
    assert store.client().echo("next") == b"next"


def test_while_it_is_not_known_whether_a_silent_store_answers_again_nothing_is_sent_ahead(line_to_store, impatient):
    """It would say so only when it is read; who asks and waits says it at once."""
    line_to_store.swallowing = True
    with pytest.raises(redis.TimeoutError):
        store.Sent("PING").answer()
    assert store.is_silent()
    until(lambda: not store.is_silent())
    with pytest.raises(store.Silent):
        store.Sent("PING")


def test_an_answer_from_before_the_store_fell_silent_makes_nobody_wait_for_it_again(line_to_store, impatient):
    sent = store.Sent("ECHO", "ahead")
    assert store.client().echo("beside") == b"beside"
    line_to_store.swallowing = True
    with pytest.raises(redis.TimeoutError):
        store.client().ping()
    assert sent.answer() == b"ahead"
    with pytest.raises(store.Silent):
        store.client().ping()


@pytest.fixture
def impatient(line_to_store, settings, monkeypatch) -> None:
    """The store is waited for no longer than half a second, and silent for one."""
    settings.REDIS_TIMEOUTS = {"socket_timeout": 0.5}
    monkeypatch.setattr(store, "OPEN_SECONDS", 1)
    store._forget()
    store.client().ping()
