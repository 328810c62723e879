"""What each role of a tenant's staff may do. The one table of rights; the portal shows it as sentences."""

SENTENCES = {
    "portal.view": "open the portal and its overview",
    "conversations.view": "read conversations",
    "conversations.answer": "answer customers and take conversations over",
    "agents.view": "see agents and their instructions",
    "agents.edit": "change agents",
    "agents.publish": "publish agents to customers",
    "knowledge.view": "see knowledge sources",
    "knowledge.edit": "add, change and remove knowledge sources",
    "branding.view": "see the brand",
    "branding.edit": "change the brand",
    "domains.edit": "add and remove the domains that lead here",
    "team.view": "see the team",
    "team.edit": "invite people and change roles",
    "keys.edit": "create and revoke API keys",
    "usage.view": "see usage and plan",
    "analytics.view": "see analytics",
    "privacy.edit": "handle privacy requests",
}

_READER = {"portal.view", "conversations.view", "agents.view", "knowledge.view", "analytics.view"}
RIGHTS: dict[str, frozenset[str]] = {
    "owner": frozenset(SENTENCES),
    "admin": frozenset(SENTENCES),
    "builder": frozenset(
        _READER | {"agents.edit", "agents.publish", "knowledge.edit", "branding.view", "branding.edit", "usage.view"}
    ),
    "responder": frozenset({"portal.view", "conversations.view", "conversations.answer", "knowledge.view"}),
    "analyst": frozenset(_READER | {"usage.view"}),
    "privacy": frozenset({"portal.view", "conversations.view", "privacy.edit", "analytics.view"}),
}
NAMES = {
    "owner": "Owner",
    "admin": "Admin",
    "builder": "Builder",
    "responder": "Responder",
    "analyst": "Analyst",
    "privacy": "Privacy officer",
}
