from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    name = "knowledge"

    def ready(self):
        from knowledge.provisioning import provision
        from tenants import registry

        registry.register_provisioner("knowledge", provision)
        registry.register_prober("knowledge", _tries)


def _tries(own, synthetic):
    from knowledge import isolation  # loads the client of the vector store, which few processes need

    return isolation.tries(own, synthetic)
