"""Two tenants and the platform with people of equal ids, addresses and passwords; made once for each file of tests."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.test import Client

from tenants import names, provisioning
from tenants.accounts import roles
from tenants.accounts.models import User
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.ids import uuid7

PASSWORD = "correct horse battery"
BACKEND = "tenants.accounts.backends.RoleBackend"


@dataclass(frozen=True)
class Place:
    """One tenant, its host, and one person in each role, by role."""

    tenant: TenantRef
    host: str
    people: dict[str, User]

    def browser(self, role: str | None = None, **options) -> Client:
        """A browser on this host, signed in as the person with the role."""
        client = Client(headers={"host": self.host}, **options)
        if role:
            with acting_for(self.tenant):
                client.force_login(self.people[role], backend=BACKEND)
        return client


@dataclass(frozen=True)
class World:
    """acme, the stranger globex, and an operator who equals both owners in id, address and password."""

    acme: Place
    globex: Place
    operator: User

    def operators_browser(self, **options) -> Client:
        """A browser on the operators' host, not signed in."""
        return Client(headers={"host": settings.PLATFORM_HOST}, **options)


@pytest.fixture(scope="module")
def world() -> World:
    sealed, mark = make_password(PASSWORD), uuid4().hex[:8]
    ids = {role: uuid7() for role in roles.RIGHTS}
    acme, globex = (_place(name, mark, ids, sealed) for name in ("acme", "globex"))
    with acting_for_platform("a test"):
        operator = User(pk=ids["owner"], email=f"owner@{mark}.example", password=sealed, is_staff=True)
        operator.is_superuser = True
        operator.save(force_insert=True)
    return World(acme, globex, operator)


def _place(name: str, mark: str, ids: dict[str, UUID], sealed: str) -> Place:
    slug = f"{name}-{mark}"
    tenant = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a test").ref()
    with acting_for(tenant):
        people = {
            role: User.objects.create(
                pk=pk, email=f"{role}@{mark}.example", password=sealed, role=role, name=f"{role} X"
            )
            for role, pk in ids.items()
        }
    return Place(tenant, names.host_for(slug), people)


@pytest.fixture
def letters(settings) -> Callable[[], list[mail.EmailMessage]]:
    """``letters()``: what was mailed in this test."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    return lambda: mail.outbox
