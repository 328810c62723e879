"""Makes OperatorSite the default admin site, which `admin.register` fills."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    """Django's admin with our site."""

    default_site = "platform_site.admin_site.OperatorSite"
