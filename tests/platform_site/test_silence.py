import pytest

from platform_site.silence import Silence
from tests.conftest import until


class Refused(Exception):
    """Instead of asking."""


def ask(silence: Silence, error: Exception | None = None) -> None:
    with silence.asking(Refused, was_in_vain=lambda error: isinstance(error, TimeoutError)):
        if error:
            raise error


def may_ask(silence: Silence) -> bool:
    """Asks and gives up before there is an answer."""
    try:
        ask(silence, KeyboardInterrupt())
    except Refused:
        return False
    except KeyboardInterrupt:
        return True


def test_a_service_that_answers_be_it_by_a_refusal_is_asked_by_all():
    silence = Silence(1000)
    ask(silence)
    with pytest.raises(ValueError):
        ask(silence, ValueError())
    ask(silence)


def test_a_silent_service_is_left_alone_until_one_has_found_it_answering():
    silence = Silence(0.3)
    with pytest.raises(TimeoutError):
        ask(silence, TimeoutError())
    assert not may_ask(silence)
    until(lambda: may_ask(silence))
    assert not may_ask(silence)  # the others wait for that one, who has learned nothing
    until(lambda: may_ask(silence))
    silence._note(answered=True)
    assert may_ask(silence) and may_ask(silence)
