import asyncio
import contextlib

import pytest

from platform_site.circuit_breaker import CircuitBreaker


class Refused(Exception):
    """Instead of asking."""


class NotAsked(Exception):
    """The caller never got as far as the service."""


def is_failure(error: Exception) -> bool | None:
    return None if isinstance(error, NotAsked) else isinstance(error, TimeoutError)


def asking(breaker: CircuitBreaker):
    return breaker.asking(Refused, is_failure=is_failure)


def ask(breaker: CircuitBreaker, error: BaseException | None = None) -> bool:
    """Whether the service was asked; error: what came of it."""
    try:
        with asking(breaker):
            if error:
                raise error
    except Refused:
        return False
    except (ValueError, TimeoutError, NotAsked, KeyboardInterrupt, asyncio.CancelledError) as raised:
        assert raised is error
    return True


def ask_ahead(breaker: CircuitBreaker, error: Exception | None = None, meanwhile=lambda: None) -> None:
    """Ask, and read the answer late; error: what came of it; meanwhile: what others do."""
    with contextlib.suppress(TimeoutError), breaker.noting_failures(is_failure=lambda e: bool(is_failure(e))):
        meanwhile()
        if error:
            raise error


class Clock:
    """Stands still until it is moved."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_service_that_answers_be_it_by_a_refusal_is_asked_by_all():
    breaker = CircuitBreaker(10)
    assert ask(breaker) and ask(breaker, ValueError()) and ask(breaker) and not breaker.is_open


def test_a_service_that_answers_others_meanwhile_is_not_silent():
    clock = Clock()
    breaker = CircuitBreaker(10, now=clock)
    with pytest.raises(TimeoutError), asking(breaker):
        clock.seconds += 1
        assert ask(breaker)
        raise TimeoutError
    assert not breaker.is_open and ask(breaker)


def test_only_failures_in_a_row_count():
    breaker = CircuitBreaker(10, failures=2)
    for _ in range(3):
        assert ask(breaker, TimeoutError()) and ask(breaker)
    assert ask(breaker, TimeoutError()) and ask(breaker, TimeoutError()) and not ask(breaker)


def test_a_silent_service_is_left_alone_until_one_has_found_it_answering():
    clock = Clock()
    breaker = CircuitBreaker(10, now=clock)
    assert ask(breaker, TimeoutError())
    assert breaker.is_open and not ask(breaker)
    clock.seconds += 10
    with asking(breaker):
        assert not ask(breaker)  # the others wait for what this one finds out
    assert ask(breaker) and ask(breaker)


@pytest.mark.parametrize("nothing", [asyncio.CancelledError(), KeyboardInterrupt(), NotAsked()])
def test_whoever_was_to_find_out_and_learned_nothing_leaves_it_to_the_next(nothing):
    clock = Clock()
    breaker = CircuitBreaker(10, now=clock)
    assert ask(breaker, TimeoutError())
    clock.seconds += 10
    assert ask(breaker, nothing)
    assert ask(breaker, TimeoutError()) and not ask(breaker)


def test_an_answer_that_is_read_late_does_not_close_it():
    breaker = CircuitBreaker(10)
    ask_ahead(breaker, meanwhile=lambda: ask(breaker, TimeoutError()))
    assert breaker.is_open and not breaker.is_closed


def test_a_failure_that_is_noticed_late_opens_it_unless_others_were_answered_meanwhile():
    clock = Clock()
    breaker = CircuitBreaker(10, now=clock)

    def others():
        clock.seconds += 1
        ask(breaker)

    ask_ahead(breaker, TimeoutError(), meanwhile=others)
    assert breaker.is_closed
    ask_ahead(breaker, TimeoutError())
    assert breaker.is_open


def test_one_that_may_be_asked_again_is_closed_only_once_it_was_answered():
    clock = Clock()
    breaker = CircuitBreaker(10, now=clock)
    ask(breaker, TimeoutError())
    clock.seconds += 10
    assert not breaker.is_open and not breaker.is_closed
    assert ask(breaker) and breaker.is_closed
