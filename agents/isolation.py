"""What the isolation check tries with conversations. Canaries stand in the synthetic tenant alone."""

from uuid import uuid4

from agents.conversations.models import Conversation, EndUser, Message
from tenants.context import TenantRef, acting_for
from tenants.crypto import Unreadable
from tenants.isolation.attempts import Try, Untried
from tenants.transactions import atomic

TEXT = "isolation canary"


def tries(own: TenantRef, synthetic: TenantRef) -> list[Try]:
    """What ``own`` may not read of the synthetic tenant's conversations."""
    return [
        Try("conversations.read", "Conversations and messages of the other tenant are asked for by their ids.",
            lambda: _read(own, synthetic)),
        Try("conversations.sealed", "A message copied from the other tenant is opened with the tenant's key.",
            lambda: _open(own, synthetic)),
    ]  # fmt: skip


def _read(own: TenantRef, synthetic: TenantRef) -> list[str]:
    message = _say(synthetic)
    try:
        with acting_for(own):
            found = {
                "the conversation was read": Conversation.objects.filter(pk=message.conversation_id).exists(),
                "its message was read": Message.objects.filter(pk=message.pk).exists(),
                "its person was read": EndUser.objects.filter(conversations=message.conversation_id).exists(),
            }
    finally:
        _forget(synthetic, message)
    return [words for words, leaked in found.items() if leaked]


def _open(own: TenantRef, synthetic: TenantRef) -> list[str]:
    message = _say(synthetic)
    try:
        with acting_for(synthetic):
            row, field = Message.objects.get(pk=message.pk), Message._meta.get_field("text")
            sealed = Message.objects.filter(pk=message.pk).values_list("text", flat=True)[0]
            if row.text != TEXT:
                raise Untried("the other tenant did not read its own message")
        with acting_for(own):
            field.unseal(sealed, row.pk)
    except Unreadable:
        return []
    finally:
        _forget(synthetic, message)
    return ["it was opened"]


def _say(synthetic: TenantRef) -> Message:
    with acting_for(synthetic), atomic():
        person = EndUser.objects.create(secret_hash=uuid4().hex)
        conversation = Conversation.objects.create(
            end_user=person, agent_id=uuid4(), version_id=uuid4(), channel="test", state=Conversation.State.CLOSED
        )
        return Message.objects.create(conversation=conversation, seq=1, role=Message.Role.USER, text=TEXT)


def _forget(synthetic: TenantRef, message: Message) -> None:
    with acting_for(synthetic), atomic():
        EndUser.objects.filter(conversations=message.conversation_id).delete()
