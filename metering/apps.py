from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "metering"

    def ready(self):
        from metering import partitions, plans
        from tenants import registry

        registry.register_provisioner("metering", plans.provision, check=plans.check_order)
        registry.register_upgrade("metering", partitions.ensure_partitions)
