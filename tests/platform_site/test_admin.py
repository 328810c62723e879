"""The operators' admin: only on their host, only for them, and what they change takes hold."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents import publishing
from agents.models import AgentConfig, AgentVersion
from branding.models import Branding
from metering import plans
from metering.models import Plan, PriceRule, Subscription, UsageRecord
from tenants import domains, names, provisioning
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tenants.ids import uuid7
from tenants.models import AuditEvent, Domain, Tenant
from tenants.proofs import Finding, Outcome
from tests.metering.planned import put_on_plan
from tests.tenants.moving import home_of

PASSWORD = "correct horse battery"  # noqa: S105
CONTROL_PLANE = {"tenants", "agents", "metering", "branding", "accounts", "admin"}
PAGES = sorted(model._meta.label_lower for model in admin.site._registry)
# what a page of 30 rows may ask; a number that grows with the rows fails the test below
MOST_QUERIES = 8


def url(name: str, *args, query: dict | None = None) -> str:
    return reverse(f"admin:{name}", args=args, urlconf="platform_site.urls_platform", query=query)


@pytest.fixture
def operator() -> User:
    with acting_for_platform("test"):
        return User.objects.create_superuser(f"{uuid4().hex}@atrium.example")


@pytest.fixture
def browser(operator) -> Client:
    """The operator's, signed in on the platform's host."""
    client = Client(headers={"host": settings.PLATFORM_HOST})
    with acting_for_platform("test"):
        client.force_login(operator, backend="tenants.accounts.backends.RoleBackend")
    return client


@pytest.fixture(scope="module")
def furnished(_database):
    """A tenant with a row in every list, for tests that only look."""
    slug = f"furnished-{uuid4().hex[:8]}"
    tenant = provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a test").ref()
    use(tenant)
    with acting_for_platform("test"):
        domains.claim(Tenant.objects.get(pk=tenant.id), f"{slug}.example.com", by="a test")
        PriceRule.objects.get_or_create(
            model="openai/x", valid_from=date(2020, 1, 1), defaults={"input_per_million": 1, "output_per_million": 2}
        )
    return tenant


def use(tenant, **more) -> None:
    with acting_for(tenant):
        UsageRecord.objects.create(
            tenant_id=tenant.id, event_id=uuid7(), occurred_at=datetime.now(UTC), kind="model", provider="openai",
            model="openai/gpt-4o-mini", input_tokens=1_234, output_tokens=56, certainty="exact",
            cost=Decimal("0.0123"), turn_id=uuid4(), **more,
        )  # fmt: skip


def form_of(page) -> dict:
    """What the page's form would send if nothing were changed."""
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields if not form.fields[name].disabled}
    return {name: value for name, value in values.items() if value not in (None, False)}


def events(tenant, action: str) -> list[AuditEvent]:
    with acting_for(tenant):
        return list(AuditEvent.objects.filter(action=action))


def test_only_the_control_plane_has_pages():
    assert {label.split(".")[0] for label in PAGES} == CONTROL_PLANE
    data_plane = {model for model in apps.get_models() if model._meta.app_label in settings.DATA_APPS}
    assert data_plane and data_plane.isdisjoint(admin.site._registry)


@pytest.mark.parametrize("path", ["/admin/", "/admin/tenants/tenant/", "/admin/login/", "/admin/jsi18n/"])
def test_a_tenants_host_has_no_admin(acme, make_staff, client_of, path):
    assert client_of(acme).get(path).status_code == 404
    assert client_of(acme, make_staff(acme, "owner")).get(path).status_code == 404


def test_a_tenants_staff_cannot_sign_in_to_the_admin(acme, make_staff, client_of):
    owner = make_staff(acme, "owner")
    client = Client(headers={"host": settings.PLATFORM_HOST})
    answer = client.post("/accounts/login/", {"login": owner.email, "password": PASSWORD})
    assert answer.status_code == 200 and client.get("/admin/").status_code == 302
    stolen = client_of(acme, owner).cookies[settings.SESSION_COOKIE_NAME].value
    client.cookies[settings.SESSION_COOKIE_NAME] = stolen
    assert client.get("/admin/").status_code == 302


def test_an_operator_signs_in_through_the_same_page_as_everybody(operator):
    with acting_for_platform("test"):
        operator.set_password(PASSWORD)
        operator.save()
    client = Client(headers={"host": settings.PLATFORM_HOST})
    assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/accounts/login/")
    client.post("/accounts/login/", {"login": operator.email, "password": PASSWORD})
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("label", PAGES)
def test_every_page_renders_under_the_strict_policy(furnished, operator, browser, label):
    name = label.replace(".", "_")
    model = apps.get_model(label)
    with acting_for_platform("test"):
        if model is User:
            row = operator
        elif label == "admin.logentry":
            browser.post(url("metering_plan_change", 1), {})
            row = model.objects.first()
        else:
            own = {"tenant_id": furnished.id} if hasattr(model, "tenant_id") else {}
            row = model.objects.filter(**own).first() or model.objects.first()
    found = [browser.get(url(f"{name}_changelist"), follow=True)]
    if row is not None:
        found.append(browser.get(url(f"{name}_change", row.pk)))
        found.append(browser.get(url(f"{name}_history", row.pk)))
    if admin.site._registry[model].may_add:
        found.append(browser.get(url(f"{name}_add")))
    for page in found:
        html = page.content.decode()
        assert page.status_code == 200
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=", html)
        assert "script-src 'self'; style-src 'self'" in page["Content-Security-Policy"]
        assert html.index("css/admin.css") > html.index("admin/css/responsive.css")


@pytest.mark.parametrize("label", PAGES)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_few(furnished, browser, make_tenant, label):
    page = url(f"{label.replace('.', '_')}_changelist")
    counts = []
    for _ in range(2):
        browser.get(page)
        with (
            CaptureQueriesContext(connections["platform"]) as control,
            CaptureQueriesContext(connections["default"]) as default,
        ):
            assert browser.get(page).status_code == 200
        counts.append(len(control) + len(default))
        for number in range(3):
            use(furnished)
            with acting_for_platform("test"):
                PriceRule.objects.create(
                    model=f"m/{uuid4()}",
                    valid_from=date(2020, 1, number + 1),
                    input_per_million=1,
                    output_per_million=1,
                )
                User.objects.create_superuser(f"{uuid4().hex}@atrium.example")
        publish_again(furnished)
        if label.startswith(("tenants.", "agents.", "branding.", "metering.subscription")):
            make_tenant("extra")
    assert counts[0] == counts[1] <= MOST_QUERIES


def publish_again(tenant) -> None:
    with acting_for(tenant):
        publishing.publish(AgentConfig.objects.first(), by="a test", note=uuid4().hex)


def test_today_shows_use_of_a_minute_ago(acme, browser):
    use(acme)
    page = browser.get("/admin/")
    html = page.content.decode()
    assert page.status_code == 200
    assert acme.name in html and "1,234" in html and "openai/gpt-4o-mini" in html and "$0.0123" in html
    assert page.context["today"].turns >= 1
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)", html)


def test_a_tenant_near_its_limit_and_one_left_unfinished_need_attention(acme, browser):
    with acting_for_platform("test"):
        small = Plan.objects.create(
            code=uuid4().hex[:12], name="Tiny", tokens_per_hour=1, tokens_per_month=1_300, sessions=1
        )
        Subscription.objects.filter(tenant_id=acme.id).update(plan=small)
        Tenant.objects.filter(pk=acme.id).update(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    use(acme)
    notices = browser.get("/admin/").context["attention"]
    (full,) = [notice for notice in notices if notice.subject == acme.name]
    assert (full.label, full.tone) == ("99 % of plan", "warn")
    with acting_for_platform("test"):
        Tenant.objects.filter(pk=acme.id).update(state=Tenant.State.PROVISIONING)
    try:
        labels = [n.label for n in browser.get("/admin/").context["attention"] if n.subject == acme.name]
        assert "Not set up" in labels
    finally:
        with acting_for_platform("test"):
            Tenant.objects.filter(pk=acme.id).update(state=Tenant.State.ACTIVE)


def test_operators_set_how_many_requests_a_plan_gives_to_programs(acme, browser):
    plan = put_on_plan(acme, api_requests_per_minute=None, api_requests_per_minute_of_key=None)
    page = browser.get(url("metering_plan_change", plan.pk))
    fields = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    row = url("metering_plan_changelist", query={"code": plan.code})
    assert "as set for the installation" in browser.get(row).content.decode()
    rates = {"api_requests_per_minute": 1_200, "api_requests_per_minute_of_key": 400}
    refused = browser.post(url("metering_plan_change", plan.pk), fields | rates | {"api_requests_per_minute": 0})
    assert "greater than or equal to 1" in refused.content.decode()
    assert browser.post(url("metering_plan_change", plan.pk), fields | rates).status_code == 302
    assert "1,200, 400 with one key" in browser.get(row).content.decode()
    with acting_for(acme):
        assert plans.allowances().api_requests_per_minute == 1_200


def test_the_tenant_list_and_page_show_plan_usage_and_links_but_no_key(acme, browser):
    use(acme)
    listed = browser.get(url("tenants_tenant_changelist", query={"q": acme.slug})).content.decode()
    assert "Pro" in listed and "1,290" in listed and f"{home_of(acme)}, shared" in listed
    page = browser.get(url("tenants_tenant_change", acme.id))
    html = page.content.decode()
    assert page.context["of_tenant"].pk == acme.id and 'class="of-tenant"' in html
    with acting_for_platform("test"):
        agent = AgentConfig.objects.get(tenant_id=acme.id)
        domain = Domain.objects.get(tenant_id=acme.id)
        brand = Branding.objects.get(tenant_id=acme.id)
    for name, row in (("agents_agentconfig", agent), ("tenants_domain", domain), ("branding_branding", brand)):
        assert url(f"{name}_change", row.pk) in html
    assert "1,290 of 10,000,000" in html and "wrapped" not in html.lower()


def test_tenants_are_neither_made_nor_removed_nor_readdressed_here(acme, browser):
    assert browser.get(url("tenants_tenant_add")).status_code == 403
    assert browser.post(url("tenants_tenant_delete", acme.id), {"post": "yes"}).status_code == 403
    change = url("tenants_tenant_change", acme.id)
    name = f"Renamed {uuid4().hex[:6]}"
    browser.post(change, {"name": name, "timezone": "Europe/Oslo", "slug": "taken", "schema_name": "public"})
    with acting_for_platform("test"):
        row = Tenant.objects.get(pk=acme.id)
    assert (row.name, row.timezone, row.slug, row.schema_name) == (name, "Europe/Oslo", acme.slug, acme.schema)
    (event,) = events(acme, "tenant.changed")
    assert event.details == {"fields": ["name", "timezone"]}
    assert browser.post(change, {"name": name, "timezone": "Europe/Oslo"}).status_code == 302  # nothing to change
    assert len(events(acme, "tenant.changed")) == 1


def test_an_edited_prompt_is_what_the_next_chat_uses(acme, operator, browser):
    with acting_for(acme):
        agent = AgentConfig.objects.get()
        before = publishing.live_version()
    page = url("agents_agentconfig_change", agent.pk)
    form = form_of(browser.get(page)) | {"instructions": "Answer in rhymes.", "note": "Rhymes sell"}
    assert browser.post(page, form).status_code == 302
    with acting_for(acme):
        live = publishing.live_version()
    assert (live.instructions, live.number, live.note) == ("Answer in rhymes.", before.number + 1, "Rhymes sell")
    assert live.published_by == operator.email and live.tools == before.tools
    assert events(acme, "agent.edited") and events(acme, "agent.published")
    again = browser.post(page, form)  # based on what was there before
    assert again.status_code == 200 and "meanwhile" in again.content.decode()
    with acting_for(acme):
        assert AgentVersion.objects.count() == live.number


def test_a_new_brand_colour_counts_the_revision_up(acme, operator, browser):
    with acting_for(acme):
        row = Branding.objects.get()
    page = url("branding_branding_change", row.pk)
    form = form_of(browser.get(page)) | {"colour": "#aa3311"}
    assert browser.post(page, form).status_code == 302
    with acting_for(acme):
        changed = Branding.objects.get()
    assert (changed.colour, changed.revision) == ("#aa3311", row.revision + 1)
    assert events(acme, "branding.saved")[0].actor == operator.email
    assert "hexadecimal" in browser.post(page, form | {"colour": "red"}).content.decode()
    listed = browser.get(url("branding_branding_changelist", query={"q": acme.slug})).content.decode()
    assert 'fill="#aa3311"' in listed


def test_a_changed_subscription_holds_at_once_and_is_audited(acme, browser):
    with acting_for_platform("test"):
        row = Subscription.objects.get(tenant_id=acme.id)
        enterprise = Plan.objects.get(code="enterprise")
    browser.post(url("metering_subscription_change", row.pk), {"plan": enterprise.pk})
    with acting_for(acme):
        assert plans.allowances().tokens_per_month == enterprise.tokens_per_month
    assert events(acme, "subscription.changed")[0].details == {"plan": "enterprise"}


def test_a_domain_is_claimed_in_one_spelling_shows_its_record_and_leads_there_once_proved(acme, browser):
    host = f"chat-{uuid4().hex[:8]}.example.com"
    new = {"name": f"{host.upper()}.", "tenant": acme.id}
    for _ in range(2):  # twice is once
        assert browser.post(url("tenants_domainclaim_add"), new).status_code == 302
    claim = domains.find(host)
    page = browser.get(url("tenants_domainclaim_change", claim.pk)).content.decode()
    assert claim.record_name in page and claim.record_value in page
    assert host in browser.get(url("tenants_tenant_change", acme.id)).content.decode()
    assert Client(headers={"host": host}).get("/accounts/login/").status_code == 404
    domains.conclude(claim, Finding(Outcome.PROVED))
    assert Client(headers={"host": host}).get("/accounts/login/").status_code == 200
    own = browser.post(url("tenants_domainclaim_add"), new | {"name": settings.PLATFORM_HOST})
    assert "belongs to this platform" in own.content.decode()
    assert len(events(acme, "domain.claimed")) == 1


def test_only_a_proved_domain_becomes_the_main_one_and_removing_it_ends_its_claim(acme, browser):
    with acting_for_platform("test"):
        claim = domains.claim(Tenant.objects.get(pk=acme.id), f"chat-{uuid4().hex[:8]}.example.com", by="a test")
        domains.conclude(claim, Finding(Outcome.PROVED))
        row, own = Domain.objects.get(domain=claim.name), Domain.objects.get(domain=names.host_for(acme.slug))
        Domain.objects.filter(pk=row.pk).update(failing=True)
    page = url("tenants_domain_change", row.pk)
    assert "Only a verified domain" in browser.post(page, {"is_primary": "on"}).content.decode()
    with acting_for_platform("test"):
        Domain.objects.filter(pk=row.pk).update(failing=False)
    browser.post(page, {"is_primary": "on"})
    assert events(acme, "domain.changed")[0].details == {"domain": claim.name, "is_primary": True}
    for kept in (row, own):  # the main one, and the one that is main again after it
        assert browser.post(url("tenants_domain_delete", kept.pk), {"post": "yes"}).status_code == 403
    browser.post(url("tenants_domain_change", own.pk), {"is_primary": "on"})
    browser.post(url("tenants_domain_delete", row.pk), {"post": "yes"})
    assert events(acme, "domain.released") and Client(headers={"host": claim.name}).get("/chat/").status_code == 404
    assert browser.get(url("tenants_domain_add")).status_code == 403


def test_operators_have_chosen_domains_checked_and_released(acme, browser, operator):
    with acting_for_platform("test"):
        claim = domains.claim(Tenant.objects.get(pk=acme.id), f"chat-{uuid4().hex[:8]}.example.com", by="a test")
    chosen = {"_selected_action": [str(claim.pk)]}
    page = url("tenants_domainclaim_changelist")
    asked = browser.post(page, chosen | {"action": "check_now"}, follow=True)
    assert "The DNS is being asked" in asked.content.decode()
    found = domains.find(claim.name)
    assert found.checked_at or found.check_at <= datetime.now(UTC)  # a worker of other tests may have been faster
    assert claim.name in browser.post(page, chosen | {"action": "release"}, follow=True).content.decode()
    assert events(acme, "domain.released")[0].actor == operator.email


def test_ledger_and_audit_are_read_only(acme, browser):
    use(acme)
    with acting_for_platform("test"):
        event = AuditEvent.objects.filter(tenant_id=acme.id).first()
        record = UsageRecord.objects.filter(tenant_id=acme.id).first()
    for name, pk in (("tenants_auditevent", event.pk), ("metering_ledgerline", record.event_id)):
        assert browser.post(url(f"{name}_change", pk), {"cost": 0}).status_code == 403
        assert browser.get(url(f"{name}_add")).status_code == 403
        assert browser.post(url(f"{name}_delete", pk), {"post": "yes"}).status_code == 403
    only = browser.get(url("metering_ledgerline_changelist", query={"tenant__id__exact": acme.id}))
    assert only.context["cl"].result_count == 1


def test_a_new_operator_can_sign_in_and_a_deactivated_one_cannot(browser):
    email = f"{uuid4().hex}@atrium.example"
    new = {"email": email, "name": "New", "password1": "staple battery 12", "password2": "staple battery 12"}
    assert browser.post(url("accounts_user_add"), new).status_code == 302
    theirs = Client(headers={"host": settings.PLATFORM_HOST})
    theirs.post("/accounts/login/", {"login": email, "password": "staple battery 12"})
    assert theirs.get("/admin/").status_code == 200
    with acting_for_platform("test"):
        row = User.objects.get(email=email)
    assert browser.get(f"/admin/accounts/user/{row.pk}/password/").status_code == 200
    browser.post(url("accounts_user_change", row.pk), {"email": email, "name": "New"})
    assert theirs.get("/admin/").status_code == 302
