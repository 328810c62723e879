"""What the apps do for a tenant's life, registered by them so that `tenants` knows none of them.

Source: architecture, section 4 (last paragraph).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.backends.base.base import BaseDatabaseWrapper

from tenants.context import TenantRef

if TYPE_CHECKING:
    from tenants.isolation.attempts import Try


@dataclass(frozen=True)
class Options:
    """What a new tenant was ordered with."""

    vertical: str
    plan: str


Provision = Callable[[TenantRef, Options], None]
Check = Callable[[Options], None]
Upgrade = Callable[[BaseDatabaseWrapper], None]
Prober = Callable[[TenantRef, TenantRef], "Iterable[Try]"]
_provisioners: dict[str, Provision] = {}
_upgrades: dict[str, Upgrade] = {}
_probers: dict[str, Prober] = {}
_checks: list[Check] = []


def register_provisioner(name: str, provision: Provision, *, check: Check | None = None) -> None:
    """``provision(tenant, options)`` runs for each new tenant, acting for it, in the order of registration.

    It makes what one app needs (rows, a collection); called twice it changes nothing.
    check  looks at the order before anything is made; raises BadInput
    """
    _provisioners[name] = provision
    if check:
        _checks.append(check)


def provisioners() -> dict[str, Provision]:
    """By app name."""
    return dict(_provisioners)


def check_options(options: Options) -> None:
    """Let every app refuse what it cannot make. Raises BadInput. Platform work."""
    for check in _checks:
        check(options)


def register_upgrade(name: str, upgrade: Upgrade) -> None:
    """``upgrade(owner_connection)`` runs at each `manage.py deploy`, after the control plane's migrations.

    For what depends on the day, not on the release (partitions ahead of time); repeated, it changes nothing.
    """
    _upgrades[name] = upgrade


def upgrades() -> dict[str, Upgrade]:
    """By app name."""
    return dict(_upgrades)


def register_prober(name: str, prober: Prober) -> None:
    """``prober(own, synthetic)`` gives what `tenants.isolation` is to try with one app's data.

    Canaries go into the synthetic tenant alone, and are removed by the attempt that put them there.
    """
    _probers[name] = prober


def probers() -> dict[str, Prober]:
    """By app name."""
    return dict(_probers)
