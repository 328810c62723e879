"""What a new tenant gets for its knowledge."""

from knowledge import bases, provisioning, vectors
from knowledge.models import KnowledgeBase
from tenants.context import acting_for
from tenants.registry import Options

OPTIONS = Options(vertical="healthcare", plan="pro")


def test_a_tenant_has_one_base_also_when_made_twice_and_no_collection_before_its_first_document(acme):
    with acting_for(acme):
        provisioning.provision(acme, OPTIONS)
        assert KnowledgeBase.objects.get() == bases.ensure_default()
        assert vectors.drop() == 0


def test_a_tenant_can_be_made_while_the_vector_store_is_down(make_tenant, settings, fresh_service):
    settings.QDRANT_URL = fresh_service.url
    fresh_service.kill()
    with acting_for(make_tenant()):
        assert KnowledgeBase.objects.count() == 1
