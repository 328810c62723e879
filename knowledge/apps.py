from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    name = "knowledge"

    def ready(self):
        from knowledge.provisioning import provision
        from tenants.registry import register_provisioner

        register_provisioner("knowledge", provision)
