"""What the OpenAPI document says of every operation alike."""

LIMITS = (
    "How many requests a minute a tenant's programs may send, all together and with one key, depends on its plan. "
    "Every answer names both limits in `RateLimit-Policy` and what is left of them in `RateLimit`; beyond, the answer "
    "is 429 with `Retry-After`."
)
_POLICY = {
    "description": 'The limits: `"requests"` of the tenant, `"key"` with this key; `q` requests in `w` seconds',
    "schema": {"type": "string"},
    "example": '"requests";q=600;w=60, "key";q=300;w=60',
}
_LEFT = {
    "description": "What is left: `r` requests, until the window moves on in `t` seconds",
    "schema": {"type": "string"},
    "example": '"requests";r=599;t=42, "key";r=299;t=42',
}
_HEADERS = {"RateLimit-Policy": _POLICY, "RateLimit": _LEFT}
_TOO_MANY = {
    "description": "The minute's requests are used up: `limit` says whose (`requests`, `key`)",
    "headers": _HEADERS | {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}},
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["code", "text", "limit", "retry_after"],
                "properties": {
                    "code": {"const": "too_many_requests"},
                    "text": {"type": "string"},
                    "limit": {"enum": ["requests", "key", "anonymous"]},
                    "retry_after": {"type": "integer", "description": "Seconds"},
                },
            }
        }
    },
}


def with_limits(result: dict, **_) -> dict:
    """The document with rate limits: a 429, and the headers of each answer."""
    result["info"]["description"] = f"{result['info'].get('description', '')}\n\n{LIMITS}".strip()
    for path in result["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                answer["headers"] = answer.get("headers", {}) | _HEADERS
            operation["responses"]["429"] = _TOO_MANY
    return result
