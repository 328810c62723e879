"""Documents for programs."""

from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from knowledge import documents
from knowledge.models import Document
from platform_site.api import ApiView, caller_name

SCOPES = {"GET": "documents:read", "POST": "documents:write", "DELETE": "documents:write"}
RIGHTS = {"GET": "knowledge.view", "POST": "knowledge.edit", "DELETE": "knowledge.edit"}


class ProblemSerializer(serializers.Serializer):
    """Why a document failed, or why it waits."""

    code = serializers.CharField()
    text = serializers.CharField(help_text="What is wrong and what to do")


class DocumentSerializer(serializers.ModelSerializer):
    """A document and how far it has come."""

    problem = serializers.SerializerMethodField(help_text="null while all is well")

    class Meta:
        model = Document
        fields = [
            "id", "title", "file_name", "kind", "bytes", "state", "done", "total", "problem",
            "revision", "added_by", "created_at", "ready_at",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(ProblemSerializer(allow_null=True))
    def get_problem(self, document: Document) -> dict | None:
        if not document.error_code:
            return None
        return {"code": document.error_code, "text": document.error_text}


class UploadSerializer(serializers.Serializer):
    """A file to take in."""

    file = serializers.FileField(allow_empty_file=True, max_length=1_000)
    name = serializers.CharField(required=False, max_length=1_000, help_text="Instead of the file's own name")


class PageSerializer(serializers.Serializer):
    """Which part of the list is wanted."""

    before = serializers.UUIDField(required=False, help_text="`next` of the page before")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=100, default=documents.PAGE_SIZE)
    search = serializers.CharField(required=False, max_length=100, help_text="Words of the title or file name")


class DocumentPageSerializer(serializers.Serializer):
    """A part of the list, the newest first."""

    results = DocumentSerializer(many=True)
    next = serializers.UUIDField(allow_null=True, help_text="`before` of the next page; null on the last")


class DocumentList(ApiView):
    """The tenant's documents."""

    required_scope, required_right = SCOPES, RIGHTS

    @extend_schema(operation_id="list_documents", parameters=[PageSerializer], responses=DocumentPageSerializer)
    def get(self, request: Request) -> Response:
        """List documents, the newest first."""
        asked = PageSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        limit = asked.validated_data.pop("limit")
        found = documents.newest(limit + 1, **asked.validated_data)
        page = {"results": found[:limit], "next": found[limit - 1].pk if len(found) > limit else None}
        return Response(DocumentPageSerializer(page).data)

    @extend_schema(
        operation_id="add_document",
        request={"multipart/form-data": UploadSerializer},
        responses={201: DocumentSerializer},
    )
    def post(self, request: Request) -> Response:
        """Add a document. It is read in the background: ask for it until its state is `ready` or `failed`.

        A file that finds no room in the plan is refused: 409 `storage_full`, with `used`, `allowed` and `bytes`.
        """
        upload = UploadSerializer(data=request.data)
        upload.is_valid(raise_exception=True)
        file = upload.validated_data["file"]
        name = upload.validated_data.get("name", file.name)
        document = documents.add(file=file, name=name, by=caller_name(request))
        return Response(DocumentSerializer(document).data, status=status.HTTP_201_CREATED)


class DocumentDetail(ApiView):
    """One document."""

    required_scope, required_right = SCOPES, RIGHTS

    @extend_schema(operation_id="get_document", responses=DocumentSerializer)
    def get(self, request: Request, document_id: UUID) -> Response:
        """How far a document has come."""
        return Response(DocumentSerializer(documents.get(document_id)).data)

    @extend_schema(operation_id="remove_document", responses={204: None})
    def delete(self, request: Request, document_id: UUID) -> Response:
        """Remove a document for good: its file, its passages, and all that search knows of it."""
        documents.remove(document_id, by=caller_name(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
