"""Three demo tenants with staff, an agent and real documents, for a first look."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files import File

from branding.models import Branding
from knowledge import documents
from knowledge.demo import DOCUMENTS
from knowledge.models import Document
from tenants import directory, names, provisioning
from tenants.accounts.models import User
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.models import Tenant

OPERATOR = "operator@platform.example"
BY = "manage.py seed_demo"


@dataclass(frozen=True)
class Demo:
    """One demo tenant."""

    slug: str
    name: str
    vertical: str
    time_zone: str
    colour: str
    look: dict
    people: dict[str, str]  # role -> name


DEMOS = [
    Demo(
        "sunrise", "Sunrise Clinic", "healthcare", "Europe/London", "#0f5c56", {"wallpaper": "#e9f0ef"},
        {"owner": "Maya Okafor", "builder": "Tom Reyes", "responder": "Ines Duarte"},
    ),
    Demo(
        "keystone", "Keystone Homes", "real_estate", "Europe/Dublin", "#f5b700",
        {"radius": 16, "font": "rounded", "wallpaper": "#fbf5e3"},
        {"owner": "Niamh Byrne", "analyst": "Paul Adeyemi"},
    ),
    Demo(
        "byteworks", "Byteworks", "it_support", "Europe/Berlin", "#3b5bdb", {"radius": 6, "font": "humanist"},
        {"owner": "Jonas Weber", "admin": "Aylin Kaya"},
    ),
]  # fmt: skip


def seed(say: Callable[[str], None], *, wait_seconds: int) -> dict:
    """Make what is missing; return addresses, and the logins that were made in this run.

    wait_seconds  how long to wait for the worker to read the documents; 0 does not wait
    """
    result = {"tenants": [_seed_tenant(demo, say) for demo in DEMOS], "operator": _seed_operator()}
    if wait_seconds:
        _wait(say, time.monotonic() + wait_seconds)
    return result


def _seed_tenant(demo: Demo, say) -> dict:
    with acting_for_platform("seed demo tenants"):
        there = Tenant.objects.select_related("database").filter(slug=demo.slug, state=Tenant.State.ACTIVE).first()
    tenant = there or provisioning.create(
        name=demo.name, slug=demo.slug, vertical=demo.vertical, plan="pro", time_zone=demo.time_zone, by=BY
    )
    host = names.host_for(demo.slug)
    with acting_for(tenant) as ref:
        if not there:
            Branding.objects.update(name=demo.name, colour=demo.colour, **demo.look)
            say(f"{demo.name} made")
        logins = [login for role, name in demo.people.items() if (login := _person(demo.slug, role, name))]
        _add_documents(ref, by=_address(demo.slug, demo.people["owner"]))
    return {
        "name": demo.name,
        "url": f"{names.address(host)}/",
        "chat_url": f"{names.address(host)}/chat/",
        "logins": logins,
    }


def _person(slug: str, role: str, name: str) -> dict | None:
    email = _address(slug, name)
    if User.objects.filter(email=email).exists():
        return None
    password = secrets.token_urlsafe(12)
    User.objects.create_user(email, password, name=name, role=role)
    return {"email": email, "password": password, "role": role}


def _address(slug: str, name: str) -> str:
    return f"{name.split()[0].lower()}@{slug}.example"


def _add_documents(tenant: TenantRef, *, by: str) -> None:
    there = set(Document.objects.values_list("file_name", flat=True))
    for path in DOCUMENTS[tenant.slug]:
        if path.name not in there:
            with Path(path).open("rb") as handle:
                documents.add(file=File(handle, name=path.name), name=path.name, by=by)


def _seed_operator() -> dict:
    login = {"url": f"{names.address(settings.PLATFORM_HOST)}/admin/", "email": OPERATOR}
    with acting_for_platform("seed demo operator"):
        if not User.objects.filter(email=OPERATOR).exists():
            login["password"] = secrets.token_urlsafe(12)
            User.objects.create_superuser(OPERATOR, login["password"], name="Demo Operator")
    return login


def _wait(say, deadline: float) -> None:
    """Until each document is ready or has failed."""
    tenants = [tenant for tenant in directory.all_active() if tenant.slug in DOCUMENTS]
    reported = -1
    while time.monotonic() < deadline:
        total = done = 0
        for tenant in tenants:
            with acting_for(tenant):
                states = list(Document.objects.values_list("state", flat=True))
            total += len(states)
            done += sum(state in ("ready", "failed") for state in states)
        if done != reported:
            say(f"documents read: {done} of {total}")
            reported = done
        if done == total:
            return
        time.sleep(0.2)
    say("some documents are still being read; they go on in the background")
