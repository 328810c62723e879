from django.apps import AppConfig


class BrandingConfig(AppConfig):
    name = "branding"

    def ready(self):
        from branding import provisioning
        from tenants import registry

        registry.register_provisioner("branding", provisioning.provision)
