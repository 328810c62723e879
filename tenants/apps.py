from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self):
        from tenants import contenttypes

        contenttypes.key_cache_by_context()
