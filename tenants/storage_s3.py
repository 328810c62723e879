"""Files in an S3-compatible store; apart from tenants.storage, so that boto3 loads only where it is used."""

from storages.backends.s3 import S3Storage

from tenants.keys import storage_path


class TenantS3Storage(S3Storage):
    """Objects below ``t/<id>/`` of one bucket."""

    file_overwrite = False
    default_acl = None

    def _normalize_name(self, name):
        return super()._normalize_name(storage_path(name))

    def url(self, name, *args, **kwargs):
        """Refused: a stored file is only served by a view that knows who asks."""
        raise ValueError("stored files have no public address")
