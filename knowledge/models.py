"""A tenant's documents. Data plane: these tables stand in the tenant's own schema."""

from datetime import timedelta
from pathlib import PurePosixPath

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from tenants.models import UUIDModel


class KnowledgeBase(UUIDModel):
    """A set of documents that agents may read."""

    name = models.CharField(max_length=80, unique=True)
    language = models.CharField(max_length=10, default="en")
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self):
        return self.name


STILL = timedelta(minutes=5)  # without movement, somebody should know
REMOVING = "removing"  # error code of a document whose removal has begun


class DocumentQuerySet(models.QuerySet):
    """Which documents are where on their way."""

    def unfinished(self):
        """Neither ready nor failed: somebody has still to do something."""
        return self.exclude(state__in=[Document.State.READY, Document.State.FAILED])

    def can_retry(self):
        """Failed, and its file was kept."""
        return self.filter(state=Document.State.FAILED).exclude(path="").exclude(error_code=REMOVING)

    def waiting(self):
        """Free to be worked on now: nobody holds it, or its holder has not been heard of for a lease."""
        return self.unfinished().filter(Q(lease_until=None) | Q(lease_until__lt=Now()))


class Document(UUIDModel):
    """One source and how far it has come. ``revision`` counts up when it is read again."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        READING = "reading", "Reading"
        SPLITTING = "splitting", "Splitting"
        INDEXING = "indexing", "Indexing"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="documents")
    title = models.CharField(max_length=200)
    file_name = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, blank=True)  # one of parsing.KINDS; empty where it is none
    bytes = models.PositiveBigIntegerField()
    path = models.CharField(
        max_length=200, blank=True, help_text="Below the tenant's folder of the file store; empty: refused, not kept"
    )
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the file")
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    done = models.PositiveIntegerField(default=0, help_text="Passages indexed so far")
    total = models.PositiveIntegerField(default=0, help_text="Passages in all; 0 while unknown")
    error_code = models.CharField(max_length=20, blank=True)
    error_text = models.CharField(max_length=300, blank=True, help_text="What is wrong and what to do")
    revision = models.PositiveIntegerField(default=1)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Of this revision")
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True, help_text="While queued: not to be tried before")
    moved_at = models.DateTimeField(default=timezone.now, help_text="The last step forward")
    added_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True, blank=True)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-created_at"]),
            models.Index(fields=["created_at"], condition=~Q(state__in=["ready", "failed"]), name="document_open"),
        ]

    def __str__(self):
        return self.title

    @property
    def title_by_name(self) -> str:
        """What it is called unless it says so itself."""
        return PurePosixPath(self.file_name).stem.replace("_", " ")[:200] or "Document"

    @property
    def is_unfinished(self) -> bool:
        """Whether it will still change by itself."""
        return self.state not in (self.State.READY, self.State.FAILED)

    @property
    def stands_still(self) -> bool:
        """Whether it has not moved for so long that something must be wrong."""
        return self.is_unfinished and timezone.now() - self.moved_at > STILL

    @property
    def can_retry(self) -> bool:
        """Whether reading it again is possible: as the query set's."""
        return self.state == self.State.FAILED and bool(self.path) and self.error_code != REMOVING


class Passage(UUIDModel):
    """One piece of a document, as it is found and cited. Its id is also that of its point in the vector store."""

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
