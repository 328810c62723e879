"""An invitation lets one person in, once, at one tenant."""

from datetime import timedelta
from urllib.parse import urlsplit

from django.utils import timezone

from tenants.accounts import invitations, team
from tenants.accounts.models import Invitation, User
from tenants.context import acting_for
from tests.accounts.conftest import PASSWORD
from tests.threads import Threads


def invited(place, email: str, role: str = "builder") -> str:
    """The path of a new invitation's link."""
    with acting_for(place.tenant):
        return urlsplit(team.invite(email=email, role=role, by=place.people["owner"])).path


def join(browser, path: str, password: str = PASSWORD):
    return browser.post(path, {"name": "Ann", "password": password})


def test_the_link_makes_an_account_and_signs_it_in_once(world, letters):
    path = invited(world.acme, "ann@acme.example")
    browser = world.acme.browser()
    assert "ann@acme.example" in browser.get(path).content.decode()
    assert join(browser, path).url == "/"
    assert browser.get("/agents/").status_code == 200
    assert browser.get("/team/").status_code == 403
    for again in (world.acme.browser(), browser):
        assert again.get(path).status_code == 404
        assert join(again, path).status_code == 404


def test_the_link_is_unknown_at_another_tenant_and_at_the_platform(world, letters):
    path = invited(world.acme, "bea@acme.example")
    assert world.globex.browser().get(path).status_code == 404
    assert join(world.globex.browser(), path).status_code == 404
    assert world.operators_browser().get(path).status_code == 404
    assert world.acme.browser().get(path).status_code == 200


def test_of_many_who_use_the_link_at_once_one_gets_in(world, letters):
    path = invited(world.acme, "cas@acme.example")
    secret = path.strip("/").split("/")[1]

    def accept(number: int) -> bool:
        with acting_for(world.acme.tenant):
            try:
                invitations.accept(secret, name=f"Cas {number}", password=PASSWORD)
            except invitations.NotFound:
                return False
            return True

    with Threads(4) as threads:
        assert list(threads.map(accept, range(4))).count(True) == 1
    with acting_for(world.acme.tenant):
        assert User.objects.filter(email="cas@acme.example").count() == 1


def test_a_weak_password_is_explained_and_the_link_still_works(world, letters):
    path, browser = invited(world.acme, "dan@acme.example"), world.acme.browser()
    answer = join(browser, path, "short")
    assert answer.status_code == 400 and "at least 12 characters" in answer.content.decode()
    assert 'value="Ann"' in answer.content.decode()
    assert join(browser, path).url == "/"


def test_the_link_dies_after_seven_days_and_when_it_is_withdrawn(world, letters):
    late, taken_back = invited(world.acme, "eva@acme.example"), invited(world.acme, "fay@acme.example")
    with acting_for(world.acme.tenant):
        Invitation.objects.filter(email="eva@acme.example").update(expires_at=timezone.now() - timedelta(seconds=1))
        row = Invitation.objects.get(email="fay@acme.example")
        assert row.secret_hash not in taken_back
    form = {"action": "withdraw", "id": str(row.pk)}
    assert world.acme.browser("admin").post("/team/", form).url == "/team/"
    for path in (late, taken_back):
        assert world.acme.browser().get(path).status_code == 404


def test_inviting_again_replaces_the_first_link(world, letters):
    first = invited(world.acme, "gil@acme.example")
    second = invited(world.acme, "Gil@acme.example", "analyst")
    assert world.acme.browser().get(first).status_code == 404
    assert "Analyst" in world.acme.browser().get(second).content.decode()


def test_the_letter_names_the_tenant_and_not_the_platform(world, letters):
    invited(world.acme, "hal@acme.example")
    whole = letters()[0].message().as_string()
    assert world.acme.tenant.name in whole and "atrium" not in whole.lower()


def test_of_two_links_for_one_address_one_makes_the_account(world, letters):
    paths = [invited(world.acme, "kim@acme.example"), invited(world.acme, "kit@acme.example")]
    with acting_for(world.acme.tenant):
        Invitation.objects.filter(email="kit@acme.example").update(email="kim@acme.example")  # as two at once would
    assert join(world.acme.browser(), paths[0]).status_code == 302
    second = join(world.acme.browser(), paths[1])
    assert second.status_code == 409 and "Sign in" in second.content.decode()


def test_b11_a_link_kept_for_later_dies_with_its_giver_s_right(world, letters):
    with acting_for(world.acme.tenant):
        giver = User.objects.create_user("lea@acme.example", PASSWORD, role="owner")
        links = {role: team.invite(email=f"{role}2@acme.example", role=role, by=giver) for role in ("owner", "analyst")}
        paths = {role: urlsplit(link).path for role, link in links.items()}
        team.change_role(giver.pk, "admin", by=world.acme.people["owner"])
        assert world.acme.browser().get(paths["owner"]).status_code == 404
        assert world.acme.browser().get(paths["analyst"]).status_code == 200
        team.switch(giver.pk, on=False, by=world.acme.people["owner"])
        assert world.acme.browser().get(paths["analyst"]).status_code == 404


def test_a_letter_that_the_mail_server_refuses_is_told_and_the_page_stands(world, settings):
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 9
    sent = {"action": "invite", "email": "mia@acme.example", "role": "analyst"}
    response = world.acme.browser("owner").post("/team/", sent)
    assert response.status_code == 400
    assert "could not be sent" in response.content.decode()
