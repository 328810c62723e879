"""Events of a provider that says what none may say."""

import json

import pytest

from agents.answer import ANSWER_CHARACTERS, Answer, Finish, Usage

GOOD = b'{"choices": [{"delta": {"content": "good "}}]}'
HALF = b'{"choices": [{"delta": {"content": "half ", "refusal": 5}}]}'


def test_r8_of_an_event_that_is_wrong_nothing_is_shown_and_all_of_the_others():
    answer = Answer()
    assert answer.take_events([HALF]) == "" and not answer.begun  # so the model may be asked again
    assert answer.take_events([GOOD, HALF, b"{", GOOD]) == "good good "
    assert answer.broken


def test_r8_what_is_too_much_is_counted():
    answer, text = Answer(), b"x" * 4_000
    with pytest.raises(OverflowError):
        answer.take_events([b'{"choices": [{"delta": {"content": "%b"}}]}' % text] * (ANSWER_CHARACTERS // 4_000 + 1))
    assert answer.usage(lambda: 1).output_tokens > ANSWER_CHARACTERS // 4


@pytest.mark.parametrize(
    "facts",
    [
        {"usage": "x"}, {"usage": [1]}, {"choices": [{"delta": {}, "finish_reason": ["stop"]}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0}, {"index": "b"}]}}]},
    ],
)  # fmt: skip
def test_r8_what_no_provider_may_say_is_no_fault_of_ours_and_is_counted(facts):
    answer = Answer()
    answer.take_events([GOOD, json.dumps(facts).encode(), b"[DONE]"])
    assert answer.result() == ([], Finish("incomplete"))
    assert answer.usage(lambda: 7) == Usage(7, 2, 0, "estimated")
