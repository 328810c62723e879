"""Domains of the tenants' own: which names, whose they are, for how long. (F8)"""

import json
from datetime import timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from platform_site.errors import Conflict, NotFound
from tenants import addresses, directory, domains, names, proofs, provisioning
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.errors import BadName, NoTenantContext
from tenants.models import AuditEvent, Domain, DomainClaim, Tenant
from tests.conftest import host_of
from tests.threads import Threads

State = DomainClaim.State


@pytest.fixture(scope="module")
def _both(_database) -> tuple[TenantRef, TenantRef]:
    return tuple(
        provisioning.create(name=name, slug=name, vertical="healthcare", plan="pro", by="a test").ref()
        for name in (f"{word}-{uuid4().hex[:8]}" for word in ("acme", "globex"))
    )


@pytest.fixture
def acme(_both) -> TenantRef:
    """The tenant under test. These tests share the two, and each has a host of its own."""
    return _both[0]


@pytest.fixture
def globex(_both) -> TenantRef:
    """The stranger."""
    return _both[1]


@pytest.fixture
def host() -> str:
    """A name of the outside world that nobody has used."""
    return f"chat-{uuid4().hex[:10]}.example.com"


def row_of(ref) -> Tenant:
    with acting_for_platform("a test"):
        return Tenant.objects.get(pk=ref.id)


def claim(ref, host: str) -> DomainClaim:
    return domains.claim(row_of(ref), host, by="olive@atrium.example")


def prove(dns, claim: DomainClaim) -> None:
    dns.txt(claim.record_name, claim.record_value)


def verified(dns, ref, host: str) -> DomainClaim:
    made = claim(ref, host)
    prove(dns, made)
    return domains.check(made)


def age(claim: DomainClaim, **fields: timedelta) -> None:
    """Let time pass for one row: its fields lie so much further back."""
    with acting_for_platform("a test"):
        row = DomainClaim.objects.get(pk=claim.pk)
        moved = {name: getattr(row, name) - by for name, by in fields.items()}
        DomainClaim.objects.filter(pk=claim.pk).update(**moved)


def leads_to(host: str):
    """The tenant at a host, for a process that has just looked."""
    directory.forget()
    return directory.by_host(host)


def history(ref, host: str) -> list[str]:
    with acting_for(ref):
        events = AuditEvent.objects.filter(action__startswith="domain.", details__domain=host).order_by("at")
        return [event.action.removeprefix("domain.") for event in events]


# --- which names


@pytest.mark.parametrize(
    "spelled",
    ["Chat.EXAMPLE.com", "chat.example.com.", " chat.example.com ", "chat。example。com", "ｃｈａｔ.example.com"],
)
def test_one_name_has_one_spelling(spelled):
    assert names.checked_domain(spelled) == "chat.example.com"


def test_an_international_name_is_kept_as_the_dns_knows_it():
    assert names.checked_domain("Bücher.example.com") == "xn--bcher-kva.example.com"
    assert names.checked_domain("xn--bcher-kva.example.com") == "xn--bcher-kva.example.com"
    for sound in ("пример.рф", "日本語カナ.jp", "한국漢字.kr", "ελληνικά.gr"):
        assert names.checked_domain(sound).isascii()


@pytest.mark.parametrize(
    "refused",
    [
        "", "localhost", "single", "127.0.0.1", "0x7f.1", "2130706433", "[::1]", "::1", "1.2.3", "chat.example.com/x",
        "https://chat.example.com", "a..example.com", "-a.example.com", "a_b.example.com", "*.example.com",
        "x@example.com", "a b.example.com", f"{'a' * 64}.example.com", f"{'a.' * 125}com", "x.local", "x.internal",
        "x.test", "x.onion", "1.0.0.127.in-addr.arpa", "co.uk", "com.au", "xn--a.example.com", "chat.example.com\n.org",
    ],
)  # fmt: skip
def test_f8_what_is_no_name_of_one_owner_on_the_internet_is_refused(refused):
    with pytest.raises(BadName):
        names.checked_domain(refused)


@pytest.mark.parametrize(
    "refused", ["раураӏ.com", "pаypal.com", "gооgle.example.com", "xn--80aa0cbo65f.com", "ορκα.com"]
)
def test_f8_a_name_that_looks_like_another_is_refused(refused):
    with pytest.raises(BadName, match="alphabets|Latin"):
        names.checked_domain(refused)


def test_f8_the_platforms_own_names_are_refused(settings):
    settings.PLATFORM_HOST, settings.TENANT_HOST_SUFFIX = "platform.atrium.com", "chat.atrium.com"
    for own in ("platform.atrium.com", "x.platform.atrium.com", "chat.atrium.com", "a.chat.atrium.com", "atrium.com"):
        with pytest.raises(BadName, match="belongs to this platform"):
            names.checked_domain(own)
    assert names.checked_domain("notatrium.com") == "notatrium.com"


# --- proving


def test_f8_an_unproved_name_leads_nowhere_and_shows_no_brand(acme, dns, host):
    made = domains.check(claim(acme, host))
    assert (made.state, made.problem) == (State.WAITING, f"The DNS knows no name {made.record_name}.")
    directory.forget()
    response = Client(headers={"host": host}).get("/chat/")
    assert (response.status_code, acme.name.encode() in response.content) == (404, False)


def test_a_proved_name_leads_to_its_tenant(acme, dns, host):
    made = claim(acme, host)
    dns.txt(made.record_name, "v=spf1 -all", [made.record_value[:9], made.record_value[9:]])
    directory.by_host(host)  # and this process had looked before
    assert domains.check(made).state == State.VERIFIED
    assert directory.by_host(host) == acme
    assert Client(headers={"host": host}).get("/chat/").status_code == 200
    assert history(acme, host) == ["claimed", "verified"]


def test_claiming_twice_is_claiming_once(acme, host):
    first = claim(acme, host)
    assert claim(acme, host.upper()).pk == first.pk
    assert history(acme, host) == ["claimed"]


def test_f8_only_the_claims_own_value_proves_it(acme, globex, dns, host):
    mine, theirs = claim(acme, host), claim(globex, host)
    assert mine.challenge != theirs.challenge
    prove(dns, theirs)
    found = domains.check(mine)
    assert found.state == State.WAITING and "another value" in found.problem
    dns.txt(mine.record_name, "hello")
    assert "not this one" in domains.check(mine).problem
    dns.txt(host, mine.record_value)
    dns.forget(mine.record_name)
    assert domains.check(mine).state == State.WAITING


def test_f8_a_name_has_one_owner_and_others_learn_of_it_only_by_proof(acme, globex, dns, host):
    mine = verified(dns, acme, host)
    theirs = claim(globex, host)
    assert acme.name not in domains.check(theirs).problem
    dns.txt(mine.record_name, mine.record_value, theirs.record_value)
    found = domains.check(theirs)
    assert (found.state, found.problem) == (State.WAITING, domains.TAKEN)
    assert leads_to(host) == acme
    assert domains.release(mine, by="olive@atrium.example")
    assert leads_to(host) is None
    assert domains.check(theirs).state == State.VERIFIED
    assert leads_to(host) == globex


def test_f8_who_comes_back_needs_a_fresh_proof(acme, dns, host):
    first = verified(dns, acme, host)
    assert domains.release(first, by="a test") and not domains.release(first, by="a test")
    again = claim(acme, host)
    assert again.pk != first.pk and again.challenge != first.challenge
    assert domains.check(again).state == State.WAITING
    assert domains.check(first).state == State.RELEASED  # a late answer to the old claim changes nothing
    assert leads_to(host) is None


def test_f8_of_fifty_claims_at_once_one_gets_the_name(acme, dns, host, settings):
    """Fifty tenants' claims proved in the same moment; the tenants are rows only."""
    settings.DNS_SECONDS = 15
    with acting_for_platform("a test"):
        model = Tenant.objects.get(pk=acme.id)
        rows = [bystander(model) for _ in range(50)]
        Tenant.objects.bulk_create(rows)
        claims = [domains.claim(row, host, by="a test") for row in rows]
    dns.txt(claims[0].record_name, *[one.record_value for one in claims])
    together = Barrier(len(claims))

    def checked(one: DomainClaim) -> DomainClaim:
        finding = proofs.look(one)
        together.wait(20)
        return domains.conclude(one, finding)

    with Threads(len(claims)) as threads:
        found = list(threads.map(checked, claims))
    try:
        won = [one for one in found if one.state == State.VERIFIED]
        assert len(won) == 1
        assert {one.problem for one in found if one.state == State.WAITING} == {domains.TAKEN}
        with acting_for_platform("a test"):
            assert Domain.objects.get(domain=host).tenant_id == won[0].tenant_id
            assert DomainClaim.objects.filter(name=host, state=State.VERIFIED).count() == 1
    finally:
        with acting_for_platform("a test"):
            Tenant.objects.filter(pk__in=[row.pk for row in rows]).delete()


def bystander(model: Tenant) -> Tenant:
    """A tenant that has no schema."""
    name = f"race-{uuid4().hex[:12]}"
    return Tenant(
        name=name, slug=name, schema_name=f"t_race_{uuid4().hex[:12]}", database=model.database, wrapped_key=b"x",
        state=Tenant.State.ACTIVE,
    )  # fmt: skip


def test_who_is_not_set_up_gets_no_domain(acme, host):
    tenant = row_of(acme)
    tenant.state = Tenant.State.PROVISIONING
    with pytest.raises(Conflict, match="being set up"):
        domains.claim(tenant, host, by="a test")


# --- afterwards


def test_f8_a_record_that_goes_away_costs_the_domain_after_the_days_of_grace(acme, dns, host, settings):
    made = verified(dns, acme, host)
    dns.forget(made.record_name)
    failing = domains.check(made)
    assert failing.state == State.FAILING and leads_to(host) == acme
    age(made, failing_since=timedelta(days=settings.DOMAIN_GRACE_DAYS, minutes=-5))
    assert domains.check(made).state == State.FAILING
    age(made, failing_since=timedelta(minutes=5))
    assert domains.check(made).state == State.RELEASED
    assert leads_to(host) is None
    assert history(acme, host) == ["claimed", "verified", "failing", "released"]


def test_a_record_that_comes_back_within_the_grace_keeps_the_domain(acme, dns, host):
    made = verified(dns, acme, host)
    dns.exists(made.record_name)
    assert domains.check(made).state == State.FAILING
    prove(dns, made)
    found = domains.check(made)
    assert (found.state, found.problem, found.failing_since) == (State.VERIFIED, "", None)


@pytest.mark.parametrize("trouble", ["fails", "is_silent"])
def test_trouble_with_the_dns_takes_no_domain_away(acme, dns, host, trouble):
    made = verified(dns, acme, host)
    getattr(dns, trouble)(made.record_name)
    found = domains.check(made)
    assert found.state == State.VERIFIED and found.problem and leads_to(host) == acme
    dns.forget(made.record_name)
    domains.check(made)
    age(made, failing_since=timedelta(days=99))
    getattr(dns, trouble)(made.record_name)
    assert domains.check(made).state == State.FAILING and leads_to(host) == acme


def test_a_claim_that_nobody_proves_ends(acme, dns, host):
    made = claim(acme, host)
    age(made, created_at=timedelta(days=domains.WAIT_DAYS, minutes=-5))
    assert domains.check(made).state == State.WAITING
    age(made, created_at=timedelta(minutes=5))
    assert domains.check(made).state == State.EXPIRED
    with pytest.raises(NotFound):
        domains.find(host)


def test_links_lead_to_the_own_host_again_when_the_main_domain_is_lost(acme, dns, host):
    made = verified(dns, acme, host)
    with acting_for_platform("a test"):
        Domain.objects.filter(tenant_id=acme.id).update(is_primary=False)
        Domain.objects.filter(domain=host).update(is_primary=True)
    domains.release(made, by="a test")
    with acting_for(acme):
        assert addresses.canonical() == names.address(host_of(acme))


def test_the_clock_checks_what_is_due_and_one_slow_name_keeps_nobody_waiting(acme, dns, host):
    slow, quick, idle = (claim(acme, f"{number}.{host}") for number in range(3))
    prove(dns, quick)
    dns.is_silent(slow.record_name)
    domains.ask_for_check([slow, quick])
    assert domains.check_due() >= 2
    with acting_for_platform("a test"):
        found = {one.pk: one for one in DomainClaim.objects.filter(name__endswith=host)}
    assert found[quick.pk].state == State.VERIFIED
    assert found[quick.pk].check_at > timezone.now() + timedelta(hours=23)
    assert found[slow.pk].problem and found[slow.pk].check_at > timezone.now()
    assert found[idle.pk].checked_at is None


# --- who is told, who may see


def test_owners_are_told_when_a_domain_works_fails_and_is_lost(make_tenant, dns, host, make_staff, settings):
    acme, globex = make_tenant("acme"), make_tenant("globex")
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    owner = make_staff(acme)
    make_staff(acme, "analyst"), make_staff(globex)
    made = verified(dns, acme, host)
    dns.forget(made.record_name)
    domains.check(made)
    age(made, failing_since=timedelta(days=99))
    domains.check(made)
    assert [(letter.to, letter.subject) for letter in mail.outbox] == [
        ([owner.email], f"{host} works"),
        ([owner.email], f"{host} will stop working"),
        ([owner.email], f"{host} does not work any more"),
    ]
    assert made.record_value in mail.outbox[1].body


def test_a_mail_server_that_is_away_does_not_hold_up_the_check(make_tenant, dns, host, make_staff, settings):
    acme = make_tenant("acme")
    make_staff(acme)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert verified(dns, acme, host).state == State.VERIFIED


def test_a_tenant_sees_its_own_claims_alone_and_changes_none(acme, globex, host):
    claim(acme, host)
    with acting_for(globex):
        assert not DomainClaim.objects.filter(name=host).exists()
    with acting_for(acme):
        assert DomainClaim.objects.filter(name=host).count() == 1
        with pytest.raises(Exception, match="permission denied"):
            DomainClaim.objects.update(state=State.VERIFIED)
    with pytest.raises(NoTenantContext):
        DomainClaim.objects.exists()


def test_its_owners_are_told_when_somebody_lets_go_of_a_domain(acme, dns, host, make_staff):
    owner, made = make_staff(acme), verified(dns, acme, host)
    mail.outbox.clear()
    assert domains.release(made, by="olive@atrium.example")
    (letter,) = [letter for letter in mail.outbox if letter.to == [owner.email]]
    assert host in letter.subject and "by the operators of this service" in letter.body
    assert "olive" not in letter.body  # who of them is their own matter
    assert not domains.release(made, by="olive@atrium.example")
    mail.outbox.clear()
    domains.release(claim(acme, host), by="olive@atrium.example")  # never led anywhere
    assert mail.outbox == []


# --- the commands


def test_operators_add_verify_list_and_release_a_domain_by_command(acme, dns, host, capsys):
    call_command("add_domain", acme.slug, host.upper())
    waiting = domains.find(host)
    said = capsys.readouterr().out
    assert f"{waiting.record_name}  TXT  {waiting.record_value}" in said
    assert f"{host}  CNAME  {host_of(acme)}" in said
    with pytest.raises(SystemExit):
        call_command("verify_domain", host)
    assert "knows no name" in capsys.readouterr().out
    prove(dns, waiting)
    call_command("verify_domain", host, "--json")
    assert json.loads(capsys.readouterr().out)["state"] == "verified"
    call_command("domains", "--tenant", acme.slug, "--json")
    listed = {one["domain"]: one["record"]["value"] for one in json.loads(capsys.readouterr().out)}
    assert listed[host] == waiting.record_value
    dns.forget(waiting.record_name)
    with pytest.raises(SystemExit):
        call_command("verify_domain", host)
    assert "stops leading to the tenant on" in capsys.readouterr().out
    call_command("domains", "--tenant", acme.slug)
    assert "failing" in capsys.readouterr().out
    call_command("release_domain", host)
    assert "any more" in capsys.readouterr().out and leads_to(host) is None


def test_a_command_says_what_cannot_be_done(acme, globex, host):
    for words, refusal in (
        (("add_domain", "nobody-here", host), "There is no tenant"),
        (("add_domain", acme.slug, "localhost"), "cannot be used"),
        (("verify_domain", host), "Nobody claims"),
    ):
        with pytest.raises(CommandError, match=refusal):
            call_command(*words)
    claim(acme, host), claim(globex, host)
    with pytest.raises(CommandError, match=f"{acme.slug}, {globex.slug}. Say which"):
        call_command("verify_domain", host)
    call_command("release_domain", host, "--tenant", globex.slug)
    assert domains.find(host).tenant_id == acme.id
