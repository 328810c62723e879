import asyncio

import pytest

from platform_site.circuit_breaker import CircuitBreaker
from tests.conftest import until


class Refused(Exception):
    """Instead of asking."""


def asking(breaker: CircuitBreaker):
    return breaker.asking(Refused, is_failure=lambda error: isinstance(error, TimeoutError))


def ask(breaker: CircuitBreaker, error: BaseException | None = None) -> bool:
    """Whether the service was asked; error: what came of it."""
    try:
        with asking(breaker):
            if error:
                raise error
    except Refused:
        return False
    except (ValueError, TimeoutError, KeyboardInterrupt, asyncio.CancelledError) as raised:
        assert raised is error
    return True


def test_a_service_that_answers_be_it_by_a_refusal_is_asked_by_all():
    breaker = CircuitBreaker(1000)
    assert ask(breaker) and ask(breaker, ValueError()) and ask(breaker) and not breaker.is_open


def test_a_service_that_answers_others_meanwhile_is_not_silent():
    breaker = CircuitBreaker(1000)
    with pytest.raises(TimeoutError), asking(breaker):
        assert ask(breaker)
        raise TimeoutError
    assert not breaker.is_open and ask(breaker)


def test_only_failures_in_a_row_count():
    breaker = CircuitBreaker(1000, failures=2)
    for _ in range(3):
        assert ask(breaker, TimeoutError()) and ask(breaker)
    assert ask(breaker, TimeoutError()) and ask(breaker, TimeoutError()) and not ask(breaker)


@pytest.mark.parametrize("cancelled", [asyncio.CancelledError(), KeyboardInterrupt()])
def test_a_silent_service_is_left_alone_until_one_has_found_it_answering(cancelled):
    breaker = CircuitBreaker(0.3)
    assert ask(breaker, TimeoutError())
    assert breaker.is_open and not ask(breaker)
    until(lambda: not breaker.is_open)
    assert ask(breaker, cancelled)
    assert breaker.is_open and not ask(breaker)  # the others waited for that one, who has learned nothing
    until(lambda: ask(breaker))
    assert ask(breaker) and ask(breaker)
