"""A tenant's documents. Data plane: these tables stand in the tenant's own schema."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models import UUIDModel


class KnowledgeBase(UUIDModel):
    """A set of documents that agents may read."""

    name = models.CharField(max_length=80, unique=True)
    language = models.CharField(max_length=10, default="en")
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self):
        return self.name


class Document(UUIDModel):
    """One source and how far it has come. ``revision`` counts up when it is read again."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        READING = "reading", "Reading"
        SPLITTING = "splitting", "Splitting"
        INDEXING = "indexing", "Indexing"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    WORKING = (State.READING, State.SPLITTING, State.INDEXING)

    base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="documents")
    title = models.CharField(max_length=200)
    file_name = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, blank=True)  # pdf, docx, html, md, txt
    bytes = models.PositiveBigIntegerField()
    path = models.CharField(max_length=200, help_text="Below the tenant's folder of the file store")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file")
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    done = models.PositiveIntegerField(default=0, help_text="Passages indexed so far")
    total = models.PositiveIntegerField(default=0, help_text="Passages in all; 0 while unknown")
    error_code = models.CharField(max_length=20, blank=True)
    error_text = models.CharField(max_length=300, blank=True, help_text="What is wrong and what to do")
    revision = models.PositiveIntegerField(default=1)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    added_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["-created_at"]),
            models.Index(fields=["created_at"], condition=~Q(state__in=["ready", "failed"]), name="document_open"),
        ]

    def __str__(self):
        return self.title


class Passage(UUIDModel):
    """One piece of a document, as it is found and cited. The vector store is rebuilt from these rows."""

    document = models.ForeignKey(Document, models.CASCADE, related_name="passages")
    revision = models.PositiveIntegerField()
    n = models.PositiveIntegerField()
    text = models.TextField()
    heading = models.CharField(max_length=500, blank=True)
    page = models.PositiveIntegerField(null=True, blank=True)
    char_start = models.PositiveIntegerField()
    char_end = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint("document", "revision", "n", name="passage_once")]


class WorkToken(UUIDModel):
    """A place in the ingest queue. A message with an old ``seq`` does nothing."""

    seq = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField()
