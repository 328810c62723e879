"""Looks whether a name's DNS says what a claim needs. Source: docs/domains.md"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from django.conf import settings
from django.utils.module_loading import import_string

from tenants import names
from tenants.models import DomainClaim
from tenants.nameservers import NoDnsAnswer, NoRecord


class Outcome(Enum):
    """What a look into the DNS told."""

    PROVED = "proved"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What a look told, and in plain words what is wrong."""

    outcome: Outcome
    problem: str = ""


def look(claim: DomainClaim) -> Finding:
    """Ask the DNS, for at most settings.DNS_SECONDS; needs no database."""
    lookup: Callable[[str], list[str]] = import_string(settings.DOMAIN_LOOKUP)
    try:
        texts = [text.strip() for text in lookup(claim.record_name)]
    except NoRecord as error:
        return Finding(Outcome.MISSING, str(error))
    except NoDnsAnswer as error:
        return Finding(Outcome.UNKNOWN, str(error))
    if claim.record_value in texts:
        return Finding(Outcome.PROVED)
    if any(names.PROOF_VALUE in text for text in texts):
        return Finding(Outcome.MISSING, f"{claim.record_name} holds another value; an older claim's does not count.")
    return Finding(Outcome.MISSING, f"{claim.record_name} has TXT records, but not this one.")
