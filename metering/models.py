"""What tenants may use, and the ledger of what they used."""

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from platform_site.env import MODEL_NAME
from tenants.ids import uuid7
from tenants.models import Tenant, TenantManager, TenantOwned


def check_models(text: str) -> None:
    """Each line names a model with its provider, and nothing else. Raises ValidationError."""
    for name in text.split("\n"):
        if name.strip() and not MODEL_NAME.fullmatch(name.strip()):
            raise ValidationError(f"“{name.strip()}” is no name of a model, such as openai/gpt-4o-mini.")


class Plan(models.Model):
    """A tier's allowances. Operators edit them; a change holds from the next reservation."""

    readable_by_all = True

    code = models.SlugField(max_length=20, unique=True)
    name = models.CharField(max_length=40)
    tokens_per_hour = models.PositiveBigIntegerField()
    tokens_per_month = models.PositiveBigIntegerField()
    sessions = models.PositiveIntegerField("concurrent sessions")
    ingest_concurrency = models.PositiveSmallIntegerField("documents read at once", default=2)
    storage_bytes = models.PositiveBigIntegerField(default=1024**3)
    model_names = models.TextField(
        "models that tenants may choose",
        blank=True,
        default="",
        validators=[check_models],
        help_text="One a line, as litellm names them, beside the recommended one. Empty: what TENANT_MODELS says",
    )
    api_requests_per_minute = models.PositiveIntegerField(
        "API requests a minute",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Of all the tenant's keys together. Empty: what API_REQUESTS_PER_MINUTE says",
    )
    api_requests_per_minute_of_key = models.PositiveIntegerField(
        "API requests a minute with one key",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="So that one program in a loop leaves room for the others. Empty: as many as the tenant has",
    )

    def __str__(self):
        return self.name


class Subscription(TenantOwned):
    """Which plan a tenant is on. Provisioning inserts it acting for the tenant; only operators change it."""

    grants = "select, insert"

    plan = models.ForeignKey(Plan, models.PROTECT, related_name="subscriptions")
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint("tenant", name="subscription_once")]

    def __str__(self):
        return str(self.plan)


class PriceRule(models.Model):
    """What a model costs from a day on. Where no rule fits, litellm's price list counts."""

    readable_by_all = True

    model = models.CharField(max_length=100)
    valid_from = models.DateField()
    input_per_million = models.DecimalField(max_digits=12, decimal_places=6, help_text="US dollars")
    output_per_million = models.DecimalField(max_digits=12, decimal_places=6, help_text="US dollars")

    class Meta:
        constraints = [models.UniqueConstraint("model", "valid_from", name="price_once_a_day")]

    def __str__(self):
        return f"{self.model} from {self.valid_from}"


class UsageColumns(models.Model):
    """What the ledger knows of one use."""

    class Certainty(models.TextChoices):
        EXACT = "exact", "As the provider reported"
        ESTIMATED = "estimated", "Estimated"

    class Kind(models.TextChoices):
        MODEL = "model", "Answers"
        EMBEDDING = "embedding", "Reading documents"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=100)
    region = models.CharField(max_length=40, blank=True)
    input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    cached_tokens = models.PositiveBigIntegerField(default=0, help_text="Part of the input tokens")
    certainty = models.CharField(max_length=10, choices=Certainty)
    cost = models.DecimalField(max_digits=14, decimal_places=8, help_text="US dollars")
    agent_id = models.UUIDField(null=True, blank=True)
    turn_id = models.UUIDField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=1)
    recorded_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager()

    class Meta:
        abstract = True

    def __str__(self):
        return f"{self.model}: {self.input_tokens} in, {self.output_tokens} out"


class UsageRecord(UsageColumns):
    """One line of the ledger: append only, one per event id, partitioned by month of ``occurred_at``."""

    tenant_owned = True
    grants = "select, insert"

    event_id = models.UUIDField(default=uuid7)
    occurred_at = models.DateTimeField()
    pk = models.CompositePrimaryKey("event_id", "occurred_at")

    class Meta:
        indexes = [
            models.Index(fields=["tenant", "-occurred_at"], name="metering_usagerecord_tenant"),
            models.Index(fields=["-occurred_at"], name="metering_usagerecord_time"),
        ]


class LedgerLine(UsageColumns):
    """The ledger for the operators' admin, which takes no composite key. Reads the rows of UsageRecord."""

    event_id = models.UUIDField(primary_key=True)
    occurred_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "metering_usagerecord"
        verbose_name = "usage record"
