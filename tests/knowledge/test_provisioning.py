"""What a new tenant gets for its knowledge."""

import pytest

from knowledge import bases, provisioning, vectors
from knowledge.errors import VectorStoreDown
from knowledge.models import KnowledgeBase
from tenants.context import acting_for
from tenants.registry import Options

OPTIONS = Options(vertical="healthcare", plan="pro", owner_email="")


def test_a_tenant_has_one_base_and_a_place_in_the_vector_store_also_when_made_twice(acme):
    with acting_for(acme):
        provisioning.provision(acme, OPTIONS)
        assert KnowledgeBase.objects.get() == bases.ensure_default()
        assert vectors.count() == 0
        assert vectors.drop() == 1


def test_a_vector_store_that_is_down_is_named_with_what_to_do(acme, settings, fresh_service):
    settings.QDRANT_URL = fresh_service.url
    fresh_service.kill()
    with acting_for(acme), pytest.raises(VectorStoreDown, match="run the same command again"):
        provisioning.provision(acme, OPTIONS)
