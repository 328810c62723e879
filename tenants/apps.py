from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self):
        from django.core import checks

        from tenants import contenttypes, migration_rules

        contenttypes.key_cache_by_context()
        checks.register(migration_rules.check, "tenants")
