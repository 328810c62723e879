"""Conversations for programs: start one, send a message, read the answer as it comes."""

from asgiref.sync import async_to_sync
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import renderers, serializers
from rest_framework.response import Response

from agents import event_stream, publishing, turns
from agents.conversations import opening, reading
from agents.conversations.visitors import Visitor, known_by
from platform_site.api import ApiView
from tenants.context import TenantRef, current
from tenants.ids import uuid7

SCOPE, RIGHT = "conversations:write", "conversations.answer"
LAST_EVENT = OpenApiParameter(
    "Last-Event-ID", str, OpenApiParameter.HEADER,
    description="`id` of the last event of a stream that broke off: sent again with the same message, it goes on there",
)  # fmt: skip


class StartSerializer(serializers.Serializer):
    """A new conversation of one of the caller's own users."""

    end_user = serializers.CharField(max_length=200, help_text="Your own id of the person; kept as a hash")


class ConversationSerializer(serializers.Serializer):
    """A conversation."""

    id = serializers.UUIDField()
    state = serializers.CharField()
    created_at = serializers.DateTimeField()


class MessageSerializer(serializers.Serializer):
    """A message of the end user."""

    id = serializers.UUIDField(required=False, help_text="Your id of the message: sent twice, it is one message")
    text = serializers.CharField(max_length=100_000, trim_whitespace=False)


class BeforeSerializer(serializers.Serializer):
    """Which messages are wanted."""

    before = serializers.IntegerField(required=False, min_value=1, help_text="Only older ones than this `seq`")


class EventStreamRenderer(renderers.BaseRenderer):
    """Lets a caller ask for text/event-stream; the stream itself is written by the view."""

    media_type, format, charset = event_stream.MEDIA_TYPE, "events", None

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return renderers.JSONRenderer().render(data)  # an error before the stream began


class ConversationsView(ApiView):
    """Start conversations."""

    required_scope, required_right = SCOPE, RIGHT

    @extend_schema(request=StartSerializer, responses={201: ConversationSerializer}, operation_id="startConversation")
    def post(self, request):
        body = StartSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        conversation = opening.start(
            conversation=uuid7(), visitor=known_by(body.validated_data["end_user"], channel="api"),
            version=publishing.live_version(), channel="api",
        )  # fmt: skip
        return Response(ConversationSerializer(conversation).data, status=201)


class MessagesView(ApiView):
    """Send messages, and read a conversation."""

    required_scope, required_right = SCOPE, RIGHT
    renderer_classes = [renderers.JSONRenderer, EventStreamRenderer]

    @extend_schema(
        request=MessageSerializer,
        operation_id="sendMessage",
        parameters=[LAST_EVENT],
        responses={
            (200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR, "Events of agents/wire.py, one a block"),
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, "The finished turn"),
        },
    )
    def post(self, request, conversation):
        body = MessageSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        seen = event_stream.seen(request.headers.get("Last-Event-ID"), body.validated_data.get("id"))
        row = reading.of_channel(conversation, "api")
        opened = turns.open_turn(
            conversation=row.pk, visitor=Visitor(row.end_user.secret_hash), text=body.validated_data["text"],
            client_id=body.validated_data.get("id") or uuid7(), channel="api",
        )  # fmt: skip
        tenant = current()
        if request.accepted_renderer.media_type == event_stream.MEDIA_TYPE:
            return event_stream.response(tenant, opened, seen)
        return Response(async_to_sync(_finished)(tenant, opened))

    @extend_schema(operation_id="listMessages", parameters=[BeforeSerializer], responses={200: OpenApiTypes.OBJECT})
    def get(self, request, conversation):
        row = reading.of_channel(conversation, "api")
        asked = BeforeSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        messages, more = reading.newest(row.pk, **asked.validated_data)
        return Response({"messages": [message.model_dump(mode="json") for message in messages], "more": more})


async def _finished(tenant: TenantRef, opened) -> dict:
    last: dict = {}
    async for events in event_stream.followed(tenant, opened):
        last = events[-1].model_dump(mode="json")
    return last
