"""Who may change a team, and what always holds (B11)."""

from uuid import uuid4

import pytest

from platform_site.errors import Conflict, NotFound, PlatformError, Refused
from tenants.accounts import team
from tenants.accounts.models import Invitation, User
from tenants.context import acting_for
from tenants.models import AuditEvent
from tests.threads import Threads


@pytest.fixture
def staff(world):
    """Make a member of acme's staff: ``staff("owner")``."""

    def make(role: str) -> User:
        with acting_for(world.acme.tenant):
            return User.objects.create(email=f"{uuid4().hex[:8]}@acme.example", role=role, password="!")

    return make


def test_a_role_is_changed_recorded_and_holds_from_the_next_page(world, staff):
    person = staff("analyst")
    form = {"action": "role", "id": str(person.pk), "role": "builder"}
    assert world.acme.browser("admin").post("/team/", form).url == "/team/"
    with acting_for(world.acme.tenant):
        assert User.objects.get(pk=person.pk).role == "builder"
        assert AuditEvent.objects.filter(action="team.role_changed", details__person=person.email).count() == 1


def test_an_admin_can_neither_make_nor_unmake_an_owner(world, staff):
    admin, owner, analyst = world.acme.people["admin"], staff("owner"), staff("analyst")
    with acting_for(world.acme.tenant):
        for attempt in (
            lambda: team.change_role(analyst.pk, "owner", by=admin),
            lambda: team.change_role(owner.pk, "analyst", by=admin),
            lambda: team.switch(owner.pk, on=False, by=admin),
            lambda: team.invite(email="x@y.example", role="owner", by=admin),
            lambda: team.change_role(admin.pk, "builder", by=admin),
        ):
            with pytest.raises(Refused):
                attempt()
        assert not Invitation.objects.filter(email="x@y.example").exists()
        User.objects.filter(pk=owner.pk).update(role="analyst")


def test_an_admin_who_posts_the_owners_form_is_refused_in_words(world):
    browser = world.acme.browser("admin")
    form = {"action": "invite", "email": "x@y.example", "role": "owner"}
    page = browser.post("/team/", form)
    assert page.status_code == 400 and "Only owners can make somebody an owner." in page.content.decode()


def test_two_owners_cannot_unmake_each_other_at_once(world, staff):
    first, second = world.acme.people["owner"], staff("owner")

    def unmake(pair: tuple[User, User]) -> bool:
        try:
            with acting_for(world.acme.tenant):
                team.switch(pair[0].pk, on=False, by=pair[1])
        except PlatformError:
            return False
        return True

    with Threads(2) as threads:
        list(threads.map(unmake, [(first, second), (second, first)]))
    with acting_for(world.acme.tenant):
        assert User.objects.filter(role="owner", is_active=True).count() >= 1
        User.objects.filter(pk=first.pk).update(is_active=True)
        User.objects.filter(pk=second.pk).update(role="analyst")


def test_the_only_active_owner_stays(world, staff):
    owner, sleeping = world.acme.people["owner"], staff("owner")
    with acting_for(world.acme.tenant):
        User.objects.filter(pk=sleeping.pk).update(is_active=False)
        with pytest.raises(Conflict):
            team.change_role(owner.pk, "admin", by=sleeping)
        User.objects.filter(pk=sleeping.pk).update(role="analyst")


def test_nobody_changes_people_of_another_tenant(world):
    with acting_for(world.globex.tenant):
        stranger = User.objects.create(email="only@globex.example", role="analyst", password="!")
    with acting_for(world.acme.tenant), pytest.raises(NotFound):
        team.switch(stranger.pk, on=False, by=world.acme.people["owner"])
    form = {"action": "off", "id": str(stranger.pk)}
    assert world.acme.browser("owner").post("/team/", form).status_code == 404
    assert world.acme.browser("owner").post("/team/", {"action": "off", "id": "x"}).status_code == 404


def test_the_page_tells_roles_as_sentences(world):
    page = world.acme.browser("owner").get("/team/").content.decode()
    assert "Answer customers and take conversations over" in page and "Privacy officer" in page
