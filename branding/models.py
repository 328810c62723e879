"""How a tenant looks to its staff and customers."""

from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models

from tenants.models import TenantOwned

COLOUR = RegexValidator(r"^#[0-9a-fA-F]{6}\Z", "Write a colour as # and six hexadecimal digits, e.g. #0f5c56.")


class Branding(TenantOwned):
    """A tenant's brand. The stylesheet is derived from it when it is asked for, and cached by ``revision``."""

    class Font(models.TextChoices):
        SYSTEM = "system", "System"
        HUMANIST = "humanist", "Humanist"
        ROUNDED = "rounded", "Rounded"
        SERIF = "serif", "Serif"
        SLAB = "slab", "Slab"
        MONO = "mono", "Monospace"

    name = models.CharField("name shown", max_length=80)
    colour = models.CharField(max_length=7, default="#0f5c56", validators=[COLOUR])
    wallpaper = models.CharField(
        max_length=7,
        blank=True,
        validators=[COLOUR],
        help_text="Behind the chat page; empty for a hint of the colour",
    )
    radius = models.PositiveSmallIntegerField(
        "corner radius", default=10, validators=[MaxValueValidator(24)], help_text="In pixels, 0 to 24"
    )
    font = models.CharField(max_length=10, choices=Font, default=Font.SYSTEM)
    powered_by_visible = models.BooleanField("“Powered by” line in the chat", default=True)
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint("tenant", name="branding_once")]

    def __str__(self):
        return self.name
