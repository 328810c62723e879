"""Who the tenants are and where their data lives: the control plane's directory."""

from tenants.models.customers import HOLDING_CLAIM, LIVE_CLAIM, Domain, DomainClaim, SchemaTemplate, Tenant
from tenants.models.moves import MOVING, Move
from tenants.models.owned import TenantManager, TenantOwned, UUIDModel, _tenant_of_context
from tenants.models.places import MOST_TENANTS, Database, role_name
from tenants.models.records import AuditEvent, IsolationCheck

__all__ = [
    "HOLDING_CLAIM", "LIVE_CLAIM", "MOST_TENANTS", "MOVING", "AuditEvent", "Database", "Domain", "DomainClaim",
    "IsolationCheck", "Move", "SchemaTemplate", "Tenant", "TenantManager", "TenantOwned", "UUIDModel",
    "_tenant_of_context",  # migrations name it
    "role_name",
]  # fmt: skip
