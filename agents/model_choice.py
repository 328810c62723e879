"""Which models a tenant may choose for its agents: what its plan lists, else what the installation does.

litellm knows many more, some of which call whatever address stands in the model's name; all of them cost money.
"""

from django.conf import settings

from metering import plans
from metering.errors import NoPlan
from platform_site.errors import BadInput


def allowed() -> tuple[str, ...]:
    """Names for litellm, beside none: that is the recommended model, `settings.DEFAULT_MODEL`."""
    try:
        return plans.allowances().models or settings.TENANT_MODELS
    except NoPlan:
        return ()


def recommended() -> str:
    """What answers where no model is chosen, in words."""
    return f"Recommended ({settings.DEFAULT_MODEL.partition('/')[2]})"


def check(model: str) -> None:
    """Refuse what the tenant may not choose. Raises BadInput; details: fields"""
    names = allowed()
    if not model or model in names:
        return
    text = f"Not saved: your plan does not include the model “{model[:100]}”. "
    text += f"Choose one of: {', '.join(names)}." if names else "Choose the recommended model."
    raise BadInput(text, fields={"model": [text]})
