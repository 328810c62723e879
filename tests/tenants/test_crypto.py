"""Encryption at rest: nothing readable in the tables, and ciphertext opens only in its own place."""

from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import connections

from agents.conversations import reading
from agents.conversations.models import Conversation, EndUser, Message
from tenants import crypto
from tenants.context import acting_for

SECRET = "my blood pressure is 180"


def message_of(tenant, text=SECRET, **fields) -> Message:
    """A stored message."""
    with acting_for(tenant):
        visitor = EndUser.objects.create(secret_hash=uuid4().hex)
        conversation = Conversation.objects.create(end_user=visitor, agent_id=uuid4(), version_id=uuid4())
        return Message.objects.create(conversation=conversation, seq=1, role="user", text=text, **fields)


def test_k1_the_text_is_not_in_the_table_and_comes_back_whole(acme):
    message = message_of(acme, citations=[{"passage": SECRET}])
    with acting_for(acme):
        again = Message.objects.get(pk=message.pk)
        assert (again.text, again.citations) == (SECRET, [{"passage": SECRET}])
        assert Message.objects.defer("text").get(pk=message.pk).text == SECRET
        with connections[acme.alias].cursor() as cursor:
            cursor.execute("select text, citations from conversations_message")
            assert all(SECRET.encode() not in value for value in cursor.fetchone())
        assert SECRET.encode() not in bytes(Message.objects.values_list("text", flat=True)[0])


def test_k1_ciphertext_moved_to_another_row_does_not_open(acme):
    one, two = message_of(acme), message_of(acme, "other")
    with acting_for(acme):
        with connections[acme.alias].cursor() as cursor:
            cursor.execute(
                "update conversations_message set text = (select text from conversations_message where id = %s) "
                "where id = %s",
                [one.pk, two.pk],
            )
        with pytest.raises(crypto.Unreadable):
            Message.objects.get(pk=two.pk).text  # noqa: B018


def test_k1_ciphertext_of_one_tenant_does_not_open_for_another(acme, globex):
    with acting_for(acme):
        sealed = crypto.seal(b"x", bound_to="place")
        assert crypto.unseal(sealed, bound_to="place") == b"x"
        with pytest.raises(crypto.Unreadable):
            crypto.unseal(sealed, bound_to="elsewhere")
        with pytest.raises(crypto.Unreadable):
            crypto.unseal(b"\x02" + sealed[1:], bound_to="place")
        for size in (0, 1, 5, len(sealed) - 1):
            with pytest.raises(crypto.Unreadable):
                crypto.unseal(sealed[:size], bound_to="place")
    with acting_for(globex), pytest.raises(crypto.Unreadable):
        crypto.unseal(sealed, bound_to="place")
    with acting_for(replace(globex, wrapped_key=acme.wrapped_key)), pytest.raises(crypto.Unreadable):
        crypto.unseal(sealed, bound_to="place")


def test_a_new_installation_key_encrypts_and_the_old_one_still_opens(acme, settings):
    old = settings.ENCRYPTION_KEYS
    message = message_of(acme)
    settings.ENCRYPTION_KEYS = [("k2", bytes(range(1, 33))), *old]
    crypto._data_keys.clear()
    with acting_for(acme):
        assert Message.objects.get(pk=message.pk).text == SECRET
    assert crypto.new_wrapped_key().startswith(b"k2:")
    settings.ENCRYPTION_KEYS = [("k2", bytes(range(1, 33)))]
    crypto._data_keys.clear()
    with acting_for(acme), pytest.raises(crypto.Unreadable, match="k1"):
        Message.objects.get(pk=message.pk).text  # noqa: B018
    with acting_for(acme), pytest.raises(crypto.KeyMissing):  # not told as if this message alone were broken
        reading.newest(message.conversation_id)
    settings.ENCRYPTION_KEYS = [(old[0][0], bytes(32))]
    with acting_for(acme), pytest.raises(crypto.Unreadable):
        Message.objects.get(pk=message.pk).text  # noqa: B018
    crypto._data_keys.clear()


def test_an_encrypted_field_cannot_be_filtered_or_updated_by_mistake(acme):
    message_of(acme)
    with acting_for(acme):
        with pytest.raises(TypeError, match="encrypted"):
            Message.objects.update(text="plain")
        with pytest.raises(TypeError, match="encrypted"):
            Message.objects.filter(text=SECRET).count()
