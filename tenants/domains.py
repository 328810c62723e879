"""Domains of a tenant's own: claimed, proved by a record in their DNS, looked at again, given up.

waiting -> verified <-> failing -> released; waiting -> expired. A name that waits is checked every 10 minutes for 14
days, a verified one each day. Only the DNS' own word that the record is gone counts against a verified domain, and even
then it leads to its tenant for settings.DOMAIN_GRACE_DAYS more. Platform work. Source: notes/security.md, F8.
"""

import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from platform_site.amounts import minute
from platform_site.errors import Conflict, NotFound
from tenants import directory, domain_letters, names
from tenants.context import acting_for_platform
from tenants.models import AuditEvent, Domain, DomainClaim, Tenant
from tenants.proofs import Finding, Outcome, look

logger = logging.getLogger(__name__)
State = DomainClaim.State
WAIT_DAYS = 14
CHECK_AFTER = {
    State.WAITING: timedelta(minutes=10),
    State.VERIFIED: timedelta(days=1),
    State.FAILING: timedelta(hours=1),
}
AGAIN = timedelta(minutes=10)  # after a look that told nothing
CHECKED_AT_ONCE = 16
MOST_OF_A_RUN = 200
JOB = "domain check"
TAKEN = "The record is right, but the name leads to another tenant already. It is yours when that one gives it up."


def claim(tenant: Tenant, host: str, *, by: str) -> DomainClaim:
    """The tenant's claim on a host, with a fresh challenge; asked twice, the claim that has not ended.

    Says nothing about other tenants' claims: whoever has not proved the name learns nothing of it.
    Raises  BadName   it cannot be a domain of a tenant's own
            Conflict  the tenant cannot have one now
    """
    name = names.checked_domain(host)
    with acting_for_platform(f"claim {name}"):
        if tenant.state in Tenant.NOT_READY or tenant.slug == names.STAND_IN:
            raise Conflict(f"“{tenant.name}” cannot have a domain: {tenant.get_state_display().lower()}.")
        mine = DomainClaim.objects.select_related("tenant").filter(tenant=tenant, name=name, state__in=DomainClaim.LIVE)
        if found := mine.first():
            return found
        try:
            return write(tenant.pk, name, by=by, using="platform")
        except IntegrityError:  # claimed twice at the same moment
            return mine.get()


def write(tenant_id: int, name: str, *, by: str, using: str) -> DomainClaim:
    """A claim on a checked name. ``using``: the alias of whoever claims. Raises IntegrityError: there is one."""
    challenge, due = secrets.token_hex(16), timezone.now() + AGAIN
    with transaction.atomic(using=using):
        made = DomainClaim.objects.create(
            tenant_id=tenant_id, name=name, challenge=challenge, claimed_by=by, check_at=due
        )
        _note(made, "claimed", by)
    return made


def find(host: str, slug: str = "") -> DomainClaim:
    """The claim on a host that has not ended, of the tenant with this slug if several tenants wait for it.

    Raises  NotFound, Conflict  there is none, or several
    """
    name = names.normalised(host.strip())
    with acting_for_platform(f"find the claim on {name}"):
        live = DomainClaim.objects.select_related("tenant").filter(name=name, state__in=DomainClaim.LIVE)
        found = list(live.filter(tenant__slug=slug) if slug else live.order_by("created_at"))
    if not found:
        raise NotFound(f"Nobody claims “{host}”. Begin with manage.py add_domain.")
    if len(found) > 1:
        waiting = ", ".join(one.tenant.slug for one in found)
        raise Conflict(f"Several tenants claim “{host}”: {waiting}. Say which with --tenant.")
    return found[0]


def listed(slug: str = "") -> list[DomainClaim]:
    """The claims that have not ended, of all tenants or of one, by name."""
    with acting_for_platform("list of domains"):
        live = DomainClaim.objects.select_related("tenant").filter(state__in=DomainClaim.LIVE)
        return list((live.filter(tenant__slug=slug) if slug else live).order_by("name", "created_at"))


def steps(claim: DomainClaim) -> list[str]:
    """What the owner of the name has to do in its DNS now, in lines; none if nothing is to be done."""
    if claim.state == State.VERIFIED:
        return []
    lines = ["Set this record in the DNS, and leave it there:", f"  {claim.record_name}  TXT  {claim.record_value}"]
    if claim.state == State.WAITING:
        lines += ["Lead the name here:", f"  {claim.name}  CNAME  {names.host_for(claim.tenant.slug)}"]
    elif claim.state == State.FAILING:
        lines += [f"Otherwise the name stops leading to the tenant on {minute(claim.kept_until)}."]
    return lines


def as_dict(claim: DomainClaim) -> dict:
    """JSON-ready."""
    times = {name: getattr(claim, name) for name in ("created_at", "checked_at", "failing_since", "kept_until")}
    return {
        "domain": claim.name,
        "tenant": claim.tenant.slug,
        "state": str(claim.state),
        "problem": claim.problem,
        "record": {"name": claim.record_name, "type": "TXT", "value": claim.record_value},
        "alias": {"name": claim.name, "type": "CNAME", "value": names.host_for(claim.tenant.slug)},
        **{name: at and at.isoformat() for name, at in times.items()},
    }


def check(claim: DomainClaim) -> DomainClaim:
    """Look for its record now and draw the conclusion; return it as it is then. Takes up to settings.DNS_SECONDS."""
    return conclude(claim, look(claim)) or claim


def check_due() -> int:
    """Check what is due, the longest overdue first; return how many were. One that is slow keeps nobody waiting."""
    with acting_for_platform(JOB):
        live = DomainClaim.objects.filter(state__in=DomainClaim.LIVE, check_at__lte=timezone.now())
        due = list(live.exclude(tenant__state__in=Tenant.GONE).order_by("check_at")[:MOST_OF_A_RUN])
        with ThreadPoolExecutor(CHECKED_AT_ONCE) as pool:
            for one, finding in zip(due, pool.map(look, due), strict=True):
                try:
                    conclude(one, finding)
                except DatabaseError:  # the others are not to wait for it; it stays due
                    logger.exception("domain not checked", extra={"domain": one.name})
    return len(due)


def ask_for_check(claims: list[DomainClaim]) -> None:
    """Make them due now, for the next run of `check_due`."""
    with acting_for_platform("domains to be checked now"):
        chosen = DomainClaim.objects.filter(pk__in=[one.pk for one in claims], state__in=DomainClaim.LIVE)
        chosen.update(check_at=timezone.now())


def release(claim: DomainClaim, *, by: str, of_staff: bool = False) -> bool:
    """End a claim; its name leads nowhere within 5 seconds. Return whether that changed anything.

    of_staff  whether ``by`` works for the tenant; else its owners are told of the operators
    """
    with acting_for_platform(f"release {claim.name}"):
        with transaction.atomic(using="platform"):
            row = _locked(claim)
            if row is None or row.state not in DomainClaim.LIVE:
                return False
            was_held = row.state in DomainClaim.HOLDING
            _give_up(row, State.RELEASED, by)
            row.save()
        directory.forget()
        if was_held:
            domain_letters.tell_of_release(row, by=by if of_staff else "the operators of this service")
    return True


def refuse_as_main(domain: Domain) -> None:
    """Raises Conflict: links must not lead to what may stop working."""
    if domain.failing or not domain.verified_at:
        raise Conflict("Only a verified domain can be the main one.")


def make_main(domain: Domain, *, by: str) -> None:
    """Let the links of its tenant's mails lead to this domain. Raises Conflict: it is not verified, or gone."""
    with acting_for_platform(f"main address {domain.domain}"), transaction.atomic(using="platform"):
        now = next((one for one in _locked_domains(domain.tenant_id) if one.pk == domain.pk), None)
        if now is None:  # its own staff may remove it at any moment
            raise Conflict(f"“{domain.domain}” leads nowhere any more.")
        refuse_as_main(now)
        Domain.objects.filter(tenant=domain.tenant_id, is_primary=True).exclude(pk=domain.pk).update(is_primary=False)
        Domain.objects.filter(pk=domain.pk).update(is_primary=True)
        details = {"domain": domain.domain, "is_primary": True}
        AuditEvent.objects.create(tenant_id=domain.tenant_id, actor=by, action="domain.changed", details=details)
    directory.forget()


def is_removable(domain: Domain) -> bool:
    """The main address stays, because links in mails lead there, and so does the tenant's own host."""
    return not domain.is_primary and domain.domain != names.host_for(domain.tenant.slug)


def remove(domain: Domain, *, by: str) -> None:
    """Let a name lead nowhere: ends the claim that brought it. Raises Conflict: it has to stay."""
    with acting_for_platform(f"remove {domain.domain}"):
        if not is_removable(domain):
            raise Conflict(f"“{domain.domain}” stays: it is the main address or the tenant's own host.")
        claims = DomainClaim.objects.select_related("tenant").filter(tenant=domain.tenant_id, name=domain.domain)
        held = claims.filter(state__in=DomainClaim.HOLDING).first()
        if held:
            release(held, by=by)
        else:  # from before there were claims
            with transaction.atomic(using="platform"):
                Domain.objects.filter(pk=domain.pk).delete()
                details = {"domain": domain.domain}
                AuditEvent.objects.create(
                    tenant_id=domain.tenant_id, actor=by, action="domain.released", details=details
                )
            directory.forget()


def conclude(claim: DomainClaim, finding: Finding) -> DomainClaim | None:
    """Act on what a look told; the claim as it is then, None if it has gone meanwhile."""
    with acting_for_platform(JOB):
        with transaction.atomic(using="platform"):
            row = _locked(claim)
            if row is None or row.state not in DomainClaim.LIVE:  # it ended while the DNS was asked
                return row
            before = State(row.state)
            _turn(row, finding)
            row.checked_at = timezone.now()
            row.save()
        if row.state != before:
            directory.forget()
            domain_letters.tell(row)
    return row


def _locked(claim: DomainClaim) -> DomainClaim | None:
    rows = DomainClaim.objects.select_related("tenant").select_for_update(of=["self"])
    return rows.filter(pk=claim.pk).first()


def _locked_domains(tenant_id: int) -> list[Domain]:
    """A tenant's host names as they are now. One of them has to be the main one, so one change waits for another."""
    return list(Domain.objects.select_for_update().filter(tenant_id=tenant_id).order_by("pk"))


def _turn(row: DomainClaim, finding: Finding) -> None:
    row.problem = finding.problem
    if finding.outcome is Outcome.PROVED:
        _hold(row)
    elif finding.outcome is Outcome.MISSING:
        _miss(row)
    if row.state == State.WAITING and row.created_at + timedelta(days=WAIT_DAYS) <= timezone.now():
        _give_up(row, State.EXPIRED, JOB)
    if row.state in DomainClaim.LIVE:
        row.check_at = timezone.now() + (AGAIN if finding.outcome is Outcome.UNKNOWN else CHECK_AFTER[row.state])


def _hold(row: DomainClaim) -> None:
    """Make the name lead to the claim's tenant, unless another was first: the unique name decides between two."""
    held = DomainClaim.objects.filter(name=row.name, state__in=DomainClaim.HOLDING).exclude(pk=row.pk).exists()
    if not held:
        now = timezone.now()
        Domain.objects.bulk_create(  # waits for whoever is inserting the same name, and then does nothing
            [Domain(domain=row.name, tenant=row.tenant, verified_at=now, is_primary=False)], ignore_conflicts=True
        )
        mine = Domain.objects.filter(domain=row.name, tenant=row.tenant)
        held = not mine.update(failing=False, verified_at=Coalesce("verified_at", now))
    if held:
        row.problem = TAKEN
        return
    if row.state != State.VERIFIED:
        _note(row, "verified" if row.state == State.WAITING else "recovered", JOB)
    row.state, row.failing_since = State.VERIFIED, None


def _miss(row: DomainClaim) -> None:
    if row.state == State.VERIFIED:
        row.state, row.failing_since = State.FAILING, timezone.now()
        Domain.objects.filter(domain=row.name, tenant=row.tenant).update(failing=True)
        _note(row, "failing", JOB)
    elif row.state == State.FAILING and row.kept_until <= timezone.now():
        _give_up(row, State.RELEASED, JOB)


def _give_up(row: DomainClaim, end: str, by: str) -> None:
    """The claim's end. If the name was the tenant's main address, its own host is that again."""
    mine = Domain.objects.filter(domain=row.name, tenant=row.tenant)
    if row.state in DomainClaim.HOLDING:
        if any(one.is_primary and one.domain == row.name for one in _locked_domains(row.tenant_id)):
            Domain.objects.filter(tenant=row.tenant, domain=names.host_for(row.tenant.slug)).update(is_primary=True)
        mine.delete()
    row.state, row.check_at, row.failing_since = end, None, None
    _note(row, end, by)


def _note(row: DomainClaim, what: str, by: str) -> None:
    AuditEvent.objects.create(tenant_id=row.tenant_id, actor=by, action=f"domain.{what}", details={"domain": row.name})
