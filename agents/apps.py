from decimal import Decimal

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self):
        from agents import embedding, isolation, verticals
        from knowledge import embedder, storage, tokens
        from metering import plans, prices
        from tenants import registry

        registry.register_provisioner("agents", verticals.provision, check=verticals.check)
        registry.register_prober("agents", isolation.tries)
        prices.register_pricer(_price)
        embedder.register(embedding.embed, record=embedding.record)
        tokens.register_concurrency(lambda: plans.allowances().ingest_concurrency)
        storage.register_allowance(lambda: plans.allowances().storage_bytes)


def _price(model: str, input_tokens: int, output_tokens: int, cached_tokens: int) -> Decimal:
    """litellm's price list, where operators have set no price of their own."""
    from agents import llm  # the ledger's relay asks seldom, and only for models without a rule

    return llm.cost(model, llm.Usage(input_tokens, output_tokens, cached_tokens, "exact"))
