"""Encryption of what must not be readable in a dump: AES-GCM with one data key per tenant.

The data key lies on the tenant's row, wrapped by the installation's key (settings.ENCRYPTION_KEYS: the first wraps,
all unwrap). Tenant, table, column and row are bound in, so ciphertext moved elsewhere does not open.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from tenants import nonces
from tenants.context import TenantRef, current

NONCE_BYTES = nonces.BYTES
VERSION = b"\x01"
MOST_KEYS = 4096

_data_keys: dict[tuple[int, bytes], AESGCM] = {}  # by tenant id and wrapped key


class Unreadable(Exception):
    """A sealed value does not open: wrong tenant, row or key, or it was changed."""


class Broken(Unreadable):
    """One value does not open, whatever the others do."""


class KeyMissing(Unreadable):
    """None of the tenant's values opens until the installation's key for its data key is back."""


def new_wrapped_key() -> bytes:
    """A fresh data key for a new tenant, wrapped: ``key id ":" nonce ciphertext``."""
    name, key = settings.ENCRYPTION_KEYS[0]
    nonce = os.urandom(NONCE_BYTES)
    return name.encode() + b":" + nonce + AESGCM(key).encrypt(nonce, AESGCM.generate_key(256), b"data key")


def seal(plain: bytes, *, bound_to: str) -> bytes:
    """Encrypt for the current tenant; only the same tenant and ``bound_to`` open it again."""
    ref = current()
    nonce = nonces.nonce()
    return VERSION + nonce + _data_key(ref).encrypt(nonce, plain, _bound(ref, bound_to))


def unseal(sealed: bytes, *, bound_to: str) -> bytes:
    """Decrypt for the current tenant. Raises Broken, KeyMissing."""
    ref = current()
    if sealed[:1] != VERSION:
        raise Broken("unknown version of sealed value")
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    key = _data_key(ref)
    try:
        return key.decrypt(nonce, body, _bound(ref, bound_to))
    except (InvalidTag, ValueError):  # the second: it is too short for a nonce
        raise Broken(f"a value of {bound_to} does not open for tenant {ref.id}") from None


def require_key() -> None:
    """Raises KeyMissing: nothing of the current tenant can be sealed or opened here."""
    _data_key(current())


def seal_for_installation(plain: bytes, *, bound_to: str) -> bytes:
    """Encrypt what belongs to no tenant with the installation's key: ``key id ":" nonce ciphertext``."""
    name, key = settings.ENCRYPTION_KEYS[0]
    nonce = os.urandom(NONCE_BYTES)
    return name.encode() + b":" + nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())


def unseal_for_installation(sealed: bytes, *, bound_to: str) -> bytes:
    """Decrypt it again, with whichever of ENCRYPTION_KEYS sealed it. Raises Unreadable."""
    name, _, rest = sealed.partition(b":")
    key = dict(settings.ENCRYPTION_KEYS).get(name.decode(errors="replace"))
    if key is None:
        raise Unreadable(f"the encryption key of {bound_to} is not in ENCRYPTION_KEYS")
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError):
        raise Unreadable(f"{bound_to} does not open with this installation's key") from None


def _bound(ref: TenantRef, bound_to: str) -> bytes:
    return f"{ref.id}|{bound_to}".encode()


def _data_key(ref: TenantRef) -> AESGCM:
    place = (ref.id, ref.wrapped_key)
    if place not in _data_keys:
        if len(_data_keys) >= MOST_KEYS:
            _data_keys.clear()
        _data_keys[place] = AESGCM(_unwrap(ref.wrapped_key))
    return _data_keys[place]


def _unwrap(wrapped: bytes) -> bytes:
    name, _, rest = wrapped.partition(b":")
    name = name.decode(errors="replace")
    key = dict(settings.ENCRYPTION_KEYS).get(name)
    if key is None:
        raise KeyMissing(f"the encryption key {name!r} is not in ENCRYPTION_KEYS")
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], b"data key")
    except (InvalidTag, ValueError):
        raise KeyMissing("the tenant's data key does not open with this installation's key") from None
