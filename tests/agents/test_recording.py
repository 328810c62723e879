"""agents.conversations.opening and recording: what is stored of a question, whoever else asks at the same moment."""

from uuid import UUID, uuid4

import pytest
from django.db import connections

from agents import publishing
from agents.conversations import opening, reading, recording
from agents.conversations.errors import ConversationClosed, NoConversation, TooManyWaiting
from agents.conversations.models import Conversation, EndUser, Message, Turn
from agents.conversations.visitors import known_by
from tenants.context import acting_for, current
from tenants.ids import uuid7
from tenants.transactions import atomic
from tests.conftest import until
from tests.threads import Threads

ANN, BOB = known_by("ann"), known_by("bob")
AT_ONCE = 5  # one more may be there already, and then as many wait as may
SUPPOSED = pytest.mark.parametrize("supposed", [False, True])  # what the door thinks: whether the conversation is there


def ask(conversation: UUID, *, client_id: UUID | None = None, visitor=ANN, text: str = "Hello?", begun: bool = True):
    return opening.open_turn(
        turn=uuid7(), conversation=conversation, visitor=visitor, client_id=client_id or uuid4(), text=text,
        version=publishing.live_version(), begun=begun,
    )  # fmt: skip


def ask_at_once(tenant, conversation: UUID, client_ids: list[UUID], *, begun: bool = True) -> list:
    def one(client_id):
        with acting_for(tenant):
            return ask(conversation, client_id=client_id, begun=begun)

    with Threads(len(client_ids)) as threads:
        return list(threads.map(one, client_ids))


@SUPPOSED
@pytest.mark.parametrize("begun", [False, True])
def test_messages_sent_at_once_are_counted_one_by_one(acme, begun, supposed):
    conversation = uuid4()
    with acting_for(acme):
        before = ask(conversation).seq if begun else 0
    opened = ask_at_once(acme, conversation, [uuid4() for _ in range(AT_ONCE)], begun=supposed)
    assert sorted(turn.seq for turn in opened) == [before + n for n in range(1, AT_ONCE + 1)]
    with acting_for(acme):
        assert Conversation.objects.get(pk=conversation).seq == before + AT_ONCE
        assert Message.objects.count() == Turn.objects.count() == before + AT_ONCE


@SUPPOSED
@pytest.mark.parametrize("begun", [False, True])
def test_one_message_sent_many_times_at_once_is_one_turn(acme, begun, supposed):
    conversation, client_id = uuid4(), uuid4()
    with acting_for(acme):
        before = ask(conversation).seq if begun else 0
    opened = ask_at_once(acme, conversation, [client_id] * AT_ONCE, begun=supposed)
    assert [turn.new for turn in opened].count(True) == 1
    assert {(turn.turn, turn.message, turn.seq, turn.question) for turn in opened} == {
        (opened[0].turn, opened[0].message, before + 1, "Hello?")
    }
    with acting_for(acme):
        assert Conversation.objects.get(pk=conversation).seq == before + 1
        assert Message.objects.count() == Turn.objects.count() == before + 1


def test_the_model_is_told_what_was_said_before_and_not_the_question(acme):
    with acting_for(acme):
        conversation = uuid4()
        first = ask(conversation, text="One?")
        recording.close_turn(
            opened=first, attempt=1, outcome="done", author="Ada", text="Two.", citations=[], tool_calls=[], uses=[]
        )
        assert ask(conversation, text=" Three? ").history == [
            {"role": "user", "text": "One?"},
            {"role": "agent", "text": "Two."},
        ]
        assert [message.text for message in Message.objects.order_by("seq")] == ["One?", "Two.", "Three?"]


@SUPPOSED
def test_nobody_speaks_in_anothers_conversation(acme, globex, supposed):
    with acting_for(acme):
        conversation = uuid4()
        ask(conversation)
        with pytest.raises(NoConversation):
            ask(conversation, visitor=BOB, begun=supposed)
        assert EndUser.objects.count() == 1
        assert Message.objects.count() == Turn.objects.count() == Conversation.objects.get().seq == 1
    with acting_for(globex):  # the same id there is another conversation
        assert ask(conversation, visitor=BOB, begun=supposed).seq == 1


@SUPPOSED
def test_nothing_is_stored_in_a_closed_conversation(acme, supposed):
    with acting_for(acme):
        conversation, client_id = uuid4(), uuid4()
        ask(conversation, client_id=client_id)
        recording.close_conversations(ANN)
        for repeated in (client_id, uuid4()):
            with pytest.raises(ConversationClosed):
                ask(conversation, client_id=repeated, begun=supposed)
        assert Message.objects.count() == Turn.objects.count() == Conversation.objects.get().seq == 1


def test_where_people_answer_messages_are_stored_for_them_and_wait_for_no_answer(acme):
    with acting_for(acme):
        conversation = uuid4()
        for _ in range(1 + opening.MOST_WAITING):
            ask(conversation)
        Conversation.objects.update(state=Conversation.State.HUMAN)
        opened = [ask(conversation) for _ in range(3)]
        assert [(one.state, one.seq, one.new) for one in opened] == [("human", seq, True) for seq in (7, 8, 9)]
        assert Turn.objects.filter(state="running").count() == 1 + opening.MOST_WAITING


def test_no_more_questions_wait_than_may_though_they_come_at_once(acme):
    def one(_):
        with acting_for(acme):
            try:
                return ask(conversation)
            except TooManyWaiting:
                return None

    many, most = opening.MOST_WAITING + 2, 1 + opening.MOST_WAITING
    with acting_for(acme):
        conversation = uuid4()
        ask(conversation)
    with Threads(many) as threads:
        with acting_for(acme), atomic():
            Conversation.objects.select_for_update().get()
            asked = threads.map(one, range(many))
            until(lambda: in_line() >= many)
        taken = [opened for opened in asked if opened]
    assert sorted(opened.seq for opened in taken) == list(range(2, most + 1))
    with acting_for(acme):
        assert Message.objects.count() == Turn.objects.count() == Conversation.objects.get().seq == most


def in_line() -> int:
    """How many transactions wait for a lock."""
    with connections[current().alias].cursor() as cursor:
        cursor.execute("select count(*) from pg_locks where not granted")
        return cursor.fetchone()[0]


def test_a_question_that_was_stored_beside_another_knows_what_runs_before_it(acme):
    with acting_for(acme):
        conversation = uuid4()
        ask(conversation)
    opened = sorted(ask_at_once(acme, conversation, [uuid4() for _ in range(AT_ONCE)]), key=lambda one: one.seq)
    for number, one in enumerate(opened[1:], 1):
        assert one.behind in [earlier.turn for earlier in opened[:number]]
    assert [len(one.history) for one in opened] == list(range(1, AT_ONCE + 1))


def test_an_answer_that_ends_while_one_looks_is_among_what_was_missed(acme):
    def look(_):
        with acting_for(acme):
            return reading.standing(conversation, after=1)

    with acting_for(acme):
        conversation = uuid4()
        opened = ask(conversation)
    with Threads(1) as threads:
        with acting_for(acme), atomic():
            with connections[acme.alias].cursor() as cursor:
                cursor.execute("lock table conversations_turn in access exclusive mode")
            looked = threads.map(look, range(1))
            until(in_line)  # it has read the conversation, and waits for the turns
            recording.close_turn(
                opened=opened, attempt=1, outcome="done", author="A", text="Yes.", citations=[], tool_calls=[], uses=[]
            )
        [standing] = looked
    assert (standing.running, [event.seq for event in standing.missed], standing.seq) == ([], [2], 2)


def test_an_end_without_words_borrows_no_number_of_what_was_said_after_it(acme):
    with acting_for(acme):
        conversation = uuid4()
        opened = ask(conversation)
        recording.close_turn(
            opened=opened, attempt=1, outcome="failed", author="A", text="", citations=[], tool_calls=[], uses=[]
        )
        later = ask(conversation)
        ended = reading.finished(opened.turn, conversation)
    assert (ended.outcome, ended.message) == ("failed", None)
    assert ended.seq == opened.seq < later.seq


def test_a_turn_that_is_taken_over_stays_behind_those_asked_for_before_it(acme):
    with acting_for(acme):
        conversation = uuid4()
        first, second = ask(conversation), ask(conversation)
        assert recording.take_over(second.turn, attempt=1).behind == first.turn
        assert recording.take_over(first.turn, attempt=1).behind is None
