"""Model fields whose values are encrypted at rest, bound to tenant, table, column and row."""

import json

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from tenants import crypto


class Sealed(bytes):
    """Ciphertext as it stands in the database; it opens when its row's attribute is read."""


class _Unsealing(DeferredAttribute):
    def __get__(self, instance, cls=None):
        if instance is not None and self.field.attname in instance.__dict__:
            value = instance.__dict__[self.field.attname]
        else:
            value = super().__get__(instance, cls)  # deferred: loads it
        if isinstance(value, Sealed):
            value = self.field.unseal(value, instance.pk)
            instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance, value):
        # having this makes Python ask __get__ even when the row's dictionary holds a value
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.Field):
    """Text that only its own tenant's row can read. ``values()`` gives ciphertext: load the row instead.

    ``update()`` and filters are refused: the ciphertext depends on the row.
    """

    descriptor_class = _Unsealing
    empty_strings_allowed = True

    def db_type(self, connection):
        return "bytea"

    def unseal(self, value: bytes, key):
        """The plain value of this field in the row with this primary key. Raises crypto.Unreadable."""
        return self.decode(crypto.unseal(bytes(value), bound_to=self._place(key)))

    def decode(self, plain: bytes):
        """Plain bytes to the Python value."""
        return plain.decode()

    def encode(self, value) -> bytes:
        """The Python value to plain bytes."""
        return str(value).encode()

    def from_db_value(self, value, expression, connection):
        return None if value is None else Sealed(value)

    def pre_save(self, model_instance, add):
        value = getattr(model_instance, self.attname)
        if value is None:
            return None
        return Sealed(crypto.seal(self.encode(value), bound_to=self._place(model_instance.pk)))

    def get_prep_value(self, value):
        if value is None or isinstance(value, Sealed):
            return value if value is None else bytes(value)
        raise TypeError(f"{self.name} is encrypted for its row: save the row, do not filter or update() by it")

    def _place(self, key) -> str:
        return f"{self.model._meta.db_table}.{self.column}|{key}"


class EncryptedJSONField(EncryptedTextField):
    """JSON-ready data, encrypted like EncryptedTextField."""

    def decode(self, plain: bytes):
        return json.loads(plain)

    def encode(self, value) -> bytes:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
