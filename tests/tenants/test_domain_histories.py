"""Two tenants, two names and a DNS that changes, in any order: one owner at each moment, and only who proved it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tenants import certificates, directory, domains, names
from tenants.context import acting_for_platform
from tenants.models import Domain, DomainClaim, Tenant
from tests.conftest import FULL
from tests.doubles.dns_server import DnsServer, dns_server

State = DomainClaim.State
WHO = st.integers(0, 1)
WHICH = st.integers(0, 1)


class Histories(RuleBasedStateMachine):
    """What should be true is kept beside: who claims what with which challenge, what the DNS says, who holds a name."""

    tenants: list[Tenant]
    dns: DnsServer

    @initialize()
    def begin(self):
        self.hosts = [f"{word}-{uuid4().hex[:10]}.example.com" for word in ("chat", "help")]
        self.claims: dict[tuple[int, int], DomainClaim] = {}
        self.records: dict[int, set[str]] = {0: set(), 1: set()}
        self.holder: dict[int, int | None] = {0: None, 1: None}
        self.failing: set[int] = set()
        self.challenges: set[str] = set()

    @rule(who=WHO, which=WHICH)
    def claim(self, who, which):
        made = domains.claim(self.tenants[who], self.hosts[which], by="a test")
        if (who, which) in self.claims:
            assert made.pk == self.claims[who, which].pk
        else:
            assert made.challenge not in self.challenges  # never one that was used before
        self.claims[who, which] = made
        self.challenges.add(made.challenge)

    @rule(who=WHO, which=WHICH)
    def set_record(self, who, which):
        if made := self.claims.get((who, which)):
            self.records[which].add(made.record_value)
            self._publish(which)

    @rule(which=WHICH)
    def remove_records(self, which):
        self.records[which].clear()
        self._publish(which)

    @rule(who=WHO, which=WHICH)
    def check(self, who, which):
        made = self.claims.get((who, which))
        if made is None:
            return
        proved, holds = made.record_value in self.records[which], self.holder[which] == who
        found = domains.check(made)
        if proved and self.holder[which] in (None, who):
            self.holder[which] = who
            self.failing.discard(which)
            assert found.state == State.VERIFIED
        elif holds:
            self.failing.add(which)
            assert found.state == State.FAILING
        else:
            assert found.state == State.WAITING and found.problem

    @rule(who=WHO, which=WHICH)
    def check_while_the_dns_is_broken(self, who, which):
        if made := self.claims.get((who, which)):
            self.dns.fails(made.record_name)
            domains.check(made)  # the invariants say that nothing came of it
            self._publish(which)

    @rule(which=WHICH)
    def let_the_grace_pass_and_check(self, which):
        if which not in self.failing:
            return
        made = self.claims[self.holder[which], which]
        with acting_for_platform("a test"):
            since = DomainClaim.objects.get(pk=made.pk).failing_since - timedelta(days=settings.DOMAIN_GRACE_DAYS)
            DomainClaim.objects.filter(pk=made.pk).update(failing_since=since)
        self.failing.discard(which)
        if made.record_value in self.records[which]:
            assert domains.check(made).state == State.VERIFIED
        else:
            assert domains.check(made).state == State.RELEASED
            self._end(which)

    @rule(who=WHO, which=WHICH)
    def release(self, who, which):
        made = self.claims.get((who, which))
        if made is None:
            return
        assert domains.release(made, by="a test")
        assert not domains.release(made, by="a test")
        if self.holder[which] == who:
            self._end(which)
        else:
            del self.claims[who, which]

    @invariant()
    def names_lead_where_they_should(self):
        directory.forget()
        certificates.forget()
        for which, host in enumerate(getattr(self, "hosts", [])):
            owner = self.holder[which]
            assert directory.by_host(host) == (None if owner is None else self.tenants[owner].ref())
            assert certificates.may_be_issued(host) == (owner is not None and which not in self.failing)

    @invariant()
    def every_domain_has_its_claim(self):
        with acting_for_platform("a test"):
            held = set(Domain.objects.filter(domain__in=getattr(self, "hosts", [])).values_list("domain", "tenant_id"))
            claimed = DomainClaim.objects.filter(name__in=getattr(self, "hosts", []), state__in=DomainClaim.HOLDING)
            assert held == set(claimed.values_list("name", "tenant_id"))

    def _publish(self, which: int) -> None:
        self.dns.txt(f"{names.PROOF_LABEL}.{self.hosts[which]}", *self.records[which])

    def _end(self, which: int) -> None:
        del self.claims[self.holder[which], which]
        self.holder[which] = None
        self.failing.discard(which)


@pytest.mark.mass
def test_f8_in_every_history_a_name_has_one_owner_who_proved_it(acme, globex):
    with acting_for_platform("a test"):
        Histories.tenants = list(Tenant.objects.select_related("database").filter(pk__in=[acme.id, globex.id]))
    often = limits(
        max_examples=60 if FULL else 5, stateful_step_count=30 if FULL else 16, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    with dns_server() as dns, override_settings(DNS_SERVERS=[("127.0.0.1", dns.port)]):
        Histories.dns = dns
        run_state_machine_as_test(Histories, settings=often)
