"""Signing in, and getting a new password (B2, B3)."""

import re
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from tenants import names
from tenants.accounts.models import User
from tenants.accounts.tokens import ResetToken
from tenants.context import acting_for, acting_for_platform
from tenants.models import Domain
from tests.accounts.conftest import PASSWORD

LOGIN, RESET = "/accounts/login/", "/accounts/password/reset/"
NEW_PASSWORD = "an entirely new passphrase"


@pytest.fixture(autouse=True)
def _fresh_counters(world):
    """Tests share a host, so they would share its rate limits too."""
    for place in (world.acme, world.globex):
        with acting_for(place.tenant):
            cache.clear()


def sign_in(browser, email: str, password: str = PASSWORD, **query):
    return browser.post(LOGIN, {"login": email, "password": password, **query})


def link_in(letter) -> str:
    return re.search(r"https?://\S+", letter.body)[0]


def follow(browser, link: str):
    """Open the link as its reader would, through the redirect that takes the secret out of the address."""
    return browser.get(urlsplit(link).path, follow=True)


def test_staff_sign_in_on_their_own_host_only(world):
    email = world.acme.people["builder"].email
    assert sign_in(world.acme.browser(), email).url == "/"
    only_at_acme = f"solo@{world.acme.tenant.slug}.example"
    with acting_for(world.acme.tenant):
        User.objects.create_user(only_at_acme, PASSWORD, role="builder")
    assert sign_in(world.globex.browser(), only_at_acme).status_code == 200
    assert sign_in(world.operators_browser(), only_at_acme).status_code == 200


def test_an_unknown_address_and_a_wrong_password_get_the_same_words(world):
    browser = world.acme.browser()
    answers = [
        sign_in(browser, "nobody@nowhere.example"),
        sign_in(browser, world.acme.people["admin"].email, "wrong wrong wrong"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert "This e-mail address and password do not belong together." in answer.content.decode()


def test_b2_guessing_stops_after_five_and_counts_for_each_tenant_alone(world):
    email, browser = world.acme.people["admin"].email, world.acme.browser()
    for _ in range(5):
        sign_in(browser, email, "wrong wrong wrong")
    assert "Too many attempts for this address" in sign_in(browser, email).content.decode()
    assert sign_in(world.globex.browser(), email).url == "/"


def test_h7_addresses_of_one_ipv6_network_share_their_attempts(world):
    browser = world.acme.browser()
    for number in range(20):
        browser.post(RESET, {"email": f"n{number}@nobody.example"}, REMOTE_ADDR=f"2001:db8::{number:x}")
    asked = {"email": "n@nobody.example"}
    assert browser.post(RESET, asked, REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert browser.post(RESET, asked, REMOTE_ADDR="2001:db8:0:1::1").status_code == 302


ELSEWHERE = [
    "https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "https:evil.example",
]  # fmt: skip


def test_signing_in_leads_to_no_other_site(world):
    for target in ELSEWHERE:
        answer = sign_in(world.acme.browser(), world.acme.people["builder"].email, next=target)
        assert answer.url == "/", target


def test_signing_in_leads_to_no_other_of_our_hosts_but_back_to_the_page_asked_for(world):
    email = world.acme.people["builder"].email
    away = f"http://{world.globex.host}/team/"
    assert sign_in(world.acme.browser(), email, next=away).url == "/"
    assert sign_in(world.acme.browser(), email, next="/agents/?q=1").url == "/agents/?q=1"


def test_a_form_of_another_site_signs_nobody_in(world):
    browser = world.acme.browser(enforce_csrf_checks=True)
    assert sign_in(browser, world.acme.people["builder"].email).status_code == 403
    page = browser.get(LOGIN).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    answer = sign_in(browser, world.acme.people["builder"].email, csrfmiddlewaretoken=token)
    assert answer.url == "/"


def test_nobody_can_sign_up(world):
    for browser in (world.acme.browser(), world.operators_browser()):
        form = {"email": "me@evil.example", "password1": NEW_PASSWORD}
        assert "by invitation" in browser.post("/accounts/signup/", form).content.decode()
    with acting_for(world.acme.tenant):
        assert not User.objects.filter(email="me@evil.example").exists()


def test_b3_a_reset_link_works_once_and_leads_to_the_stored_domain(world, letters):
    person, browser = world.acme.people["analyst"], world.acme.browser()
    browser.post(RESET, {"email": person.email})
    (letter,) = letters()
    link = link_in(letter)
    assert link.startswith(names.address(world.acme.host) + RESET)
    page = follow(browser, link)
    assert "Choose a new password" in page.content.decode()
    form = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    done = browser.post(page.redirect_chain[-1][0], form, follow=True)
    assert "Your new password is saved" in done.content.decode()
    assert sign_in(world.acme.browser(), person.email, NEW_PASSWORD).url == "/"
    assert sign_in(world.acme.browser(), person.email).status_code == 200
    assert "does not work any more" in follow(world.acme.browser(), link).content.decode()


def test_a_forged_host_gets_neither_a_page_nor_a_letter(world, letters):
    for forged in ("evil.example", f"{world.acme.host}.evil.example", f"evil.example@{world.acme.host}"):
        browser = Client(headers={"host": forged, "x-forwarded-host": world.acme.host})
        assert browser.post(RESET, {"email": world.acme.people["admin"].email}).status_code == 404
    browser = Client(headers={"host": world.acme.host, "x-forwarded-host": "evil.example"})
    browser.post(RESET, {"email": world.acme.people["admin"].email})
    assert [link_in(letter).startswith(names.address(world.acme.host)) for letter in letters()] == [True]


def test_a_second_domain_of_the_tenant_sends_links_to_the_main_one(world, letters):
    second = f"second-{world.acme.host}"
    with acting_for_platform("a test"):
        tenant = Domain.objects.get(domain=world.acme.host).tenant
        made = Domain(domain=second, tenant=tenant, is_primary=False, verified_at="2026-01-01T00:00Z")
        made.save(using="platform")
    Client(headers={"host": second}).post(RESET, {"email": world.acme.people["admin"].email})
    assert link_in(letters()[0]).startswith(names.address(world.acme.host) + RESET)


def test_a_reset_link_of_one_tenant_does_nothing_at_another_with_equal_rows(world, letters):
    person = world.acme.people["privacy"]
    world.acme.browser().post(RESET, {"email": person.email})
    link = link_in(letters()[0])
    for browser in (world.globex.browser(), world.operators_browser()):
        assert "does not work any more" in follow(browser, link).content.decode()
    assert "Choose a new password" in follow(world.acme.browser(), link).content.decode()


def test_a_reset_link_dies_after_an_hour(world, monkeypatch):
    with acting_for(world.acme.tenant):
        person = User.objects.get(pk=world.acme.people["privacy"].pk)
        token = ResetToken().make_token(person)
        assert ResetToken().check_token(person, token)
        monkeypatch.setattr(settings, "PASSWORD_RESET_TIMEOUT", -1)  # now every token is too old
        assert not ResetToken().check_token(person, token)
    monkeypatch.undo()
    assert settings.PASSWORD_RESET_TIMEOUT == 3600


def test_asking_for_an_unknown_address_looks_the_same_and_tells_its_owner(world, letters):
    browser = world.acme.browser()
    pages = [
        browser.post(RESET, {"email": email}, follow=True).content.decode()
        for email in ("nobody@nowhere.example", world.acme.people["admin"].email)
    ]
    assert pages[0] == pages[1]
    assert "There is no account with this address here" in letters()[0].body


def test_letters_carry_the_tenants_name_and_not_the_platforms(world, letters):
    browser = world.acme.browser()
    browser.post(RESET, {"email": world.acme.people["admin"].email})
    browser.post(RESET, {"email": "nobody@nowhere.example"})
    for letter in letters():
        whole = letter.message().as_string()
        assert world.acme.tenant.name in letter.subject and world.acme.tenant.name in letter.from_email
        assert "atrium" not in whole.lower()


def test_asking_too_often_is_stopped_in_plain_words(world, letters):
    browser = world.acme.browser()
    for _ in range(5):
        browser.post(RESET, {"email": world.acme.people["admin"].email})
    answer = browser.post(RESET, {"email": world.acme.people["admin"].email})
    assert answer.status_code == 429 and "Too many attempts" in answer.content.decode()
    assert world.acme.tenant.name in answer.content.decode()
    assert len(letters()) == 5
