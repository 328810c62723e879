from platform_site.silence import Silence
from tests.conftest import until


def test_a_service_that_answers_is_asked_by_all():
    silence = Silence(1000)
    assert silence.may_ask() and silence.may_ask()
    silence.note(answered=True)
    assert silence.may_ask()


def test_a_silent_service_is_left_alone_until_one_has_found_it_answering():
    silence = Silence(0.3)
    silence.note(answered=False)
    assert not silence.may_ask()
    until(silence.may_ask)
    assert not silence.may_ask()  # the others wait for that one
    silence.note(answered=True)
    assert silence.may_ask() and silence.may_ask()
