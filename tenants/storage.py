"""Files, each below its tenant's folder ``t/<id>/``; outside a tenant there are none."""

from django.core.files.storage import FileSystemStorage
from django.utils._os import safe_join

from tenants.keys import storage_path


class TenantFileStorage(FileSystemStorage):
    """Files in a local folder."""

    def path(self, name):
        return safe_join(self.location, storage_path(str(name)))

    def _save(self, name, content):
        # Django answers with the path below the root, but a name is given below its tenant's folder
        return super()._save(name, content).removeprefix(storage_path(""))

    def url(self, name):
        """Refused: a stored file is only served by a view that knows who asks."""
        raise ValueError("stored files have no public address")
