"""What the apps do for a tenant's life, registered by them so that `tenants` knows none of them.

Source: architecture, section 4 (last paragraph).
"""

from collections.abc import Callable
from dataclasses import dataclass

from tenants.context import TenantRef


@dataclass(frozen=True)
class Options:
    """What a new tenant was ordered with."""

    vertical: str
    plan: str
    owner_email: str


Provision = Callable[[TenantRef, Options], None]
_provisioners: dict[str, Provision] = {}


def register_provisioner(name: str, provision: Provision) -> None:
    """``provision(tenant, options)`` runs for each new tenant, acting for it, in the order of registration.

    It makes what one app needs (rows, a collection); called twice it changes nothing.
    """
    _provisioners[name] = provision


def provisioners() -> dict[str, Provision]:
    """By app name."""
    return dict(_provisioners)
