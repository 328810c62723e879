"""People who sign in: operators in ``public``, a tenant's staff in its own schema. One table shape for both."""

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.accounts import roles
from tenants.ids import uuid7


class UserManager(BaseUserManager):
    """Users are known by their e-mail address, compared without case."""

    def get_by_natural_key(self, email):
        return self.get(email__iexact=email)

    def create_user(self, email: str, password: str | None = None, **fields) -> "User":
        """A user with a usable password only if one is given."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields) -> "User":
        """An operator who may do everything in the admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """An operator (no role, ``is_staff``) or a member of a tenant's staff (a role)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=100, blank=True)
    role = models.CharField(max_length=20, choices=list(roles.NAMES.items()), blank=True)
    is_staff = models.BooleanField("operator", default=False, help_text="May sign in to the operators' admin")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = []

    objects = UserManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_once"),
            models.CheckConstraint(
                condition=Q(role="") | Q(is_staff=False, is_superuser=False), name="staff_are_no_operators"
            ),
        ]

    def __str__(self):
        return self.name or self.email

    def may(self, right: str) -> bool:
        """Whether this member of a tenant's staff has a right of the table in roles.py."""
        return self.is_active and right in roles.RIGHTS.get(self.role, frozenset())

    @property
    def initials(self) -> str:
        """One or two letters for the round picture."""
        words = (self.name or self.email).split()
        return "".join(word[0] for word in words[:2]).upper()


class Invitation(models.Model):
    """An address that may become a member of staff. The link's secret is kept as a hash only."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=20, choices=list(roles.NAMES.items()))
    secret_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    def __str__(self):
        return f"{self.email} as {self.get_role_display()}"


class ApiKeyQuerySet(models.QuerySet):
    """Keys with what became of their makers."""

    def with_makers(self):
        """Each with ``stopped``: who answers for it was switched off or removed."""
        makers = User.objects.filter(pk=OuterRef("maker_id"), is_active=True).exclude(role="")
        return self.annotate(stopped=Q(maker_id__isnull=False) & ~Exists(makers))


class ApiKey(models.Model):
    """A program's key to the REST API of one tenant. The secret is shown once; only its hash is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=32, unique=True)
    secret_hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_by = models.CharField(max_length=254)
    # No foreign key: who is removed must not take the trace along that the key is nobody's any more
    maker_id = models.UUIDField(null=True, blank=True, help_text="User who answers for it; it works while they do")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    def __str__(self):
        return f"{self.name} ({self.prefix}…)"
