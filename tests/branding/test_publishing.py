"""Saving a brand."""

import pytest

from branding import brands, publishing
from branding.models import Branding
from platform_site.errors import BadInput, Conflict
from tenants import cache
from tenants.context import acting_for, acting_for_platform
from tenants.models import AuditEvent
from tests.conftest import until
from tests.threads import Threads


def brand_of(tenant) -> brands.Brand:
    with acting_for(tenant):
        return brands.current()


def test_a_change_counts_the_revision_up_is_recorded_and_shows_at_once(acme, globex):
    before, stranger = brand_of(acme), brand_of(globex)
    with acting_for(acme):
        publishing.save(by="elin@acme.example", colour="#f5b700", name="Acme Bank")
        event = AuditEvent.objects.get(action="branding.saved")
    after = brand_of(acme)
    assert (after.revision, after.name, after.theme.brand) == (before.revision + 1, "Acme Bank", "#f5b700")
    assert after.stylesheet_url.endswith(f"?v={after.revision}")
    assert event.actor == "elin@acme.example" and event.details["changed"]["colour"][1] == "#f5b700"
    assert brand_of(globex) == stranger


def test_a_change_of_another_process_shows_within_the_caches_seconds(acme, monkeypatch):
    monkeypatch.setattr(cache, "LIFETIME_SECONDS", 0.3)
    brand_of(acme)
    with acting_for(acme):
        Branding.objects.update(name="Elsewhere", revision=7)
    assert until(lambda: brand_of(acme).name == "Elsewhere", seconds=2)


def test_what_changes_nothing_makes_no_revision(acme):
    with acting_for(acme):
        row = Branding.objects.get()
        publishing.save(by="x", colour=row.colour, name=row.name)
        assert Branding.objects.get().revision == row.revision
        assert not AuditEvent.objects.filter(action="branding.saved").exists()


UNUSABLE = [
    {"colour": "red"}, {"colour": "#fff"}, {"colour": "#12345\n"}, {"radius": 25}, {"font": "comic"}, {"name": ""},
]  # fmt: skip


def test_what_cannot_be_used_is_refused_and_nothing_is_stored(acme):
    with acting_for(acme):
        before = Branding.objects.values().get()
        for fields in UNUSABLE:
            with pytest.raises(BadInput):
                publishing.save(by="x", **fields)
        assert Branding.objects.values().get() == before


def test_operators_save_a_tenants_brand_in_platform_work(acme, globex):
    with acting_for_platform("a test"):
        row = Branding.objects.get(tenant_id=acme.id)
        publishing.save(row, by="op@platform.example", colour="#123456")
        assert AuditEvent.objects.get(action="branding.saved", tenant_id=acme.id).actor == "op@platform.example"
    assert brand_of(acme).theme.brand == "#123456"
    assert brand_of(globex).theme.brand != "#123456"


def test_one_tenant_cannot_save_anothers_brand(acme, globex):
    with acting_for(globex):
        theirs = Branding.objects.get()
    with acting_for(acme), pytest.raises(publishing.NotFound):
        publishing.save(theirs, by="x", name="Taken over")


def test_of_two_who_saw_the_same_revision_one_is_told(acme):
    with acting_for(acme):
        seen = Branding.objects.get().revision

    def save(name: str) -> bool:
        try:
            with acting_for(acme):
                publishing.save(by=name, based_on=seen, name=name)
        except Conflict as error:
            assert set(error.details) == {"by", "at"}
            return False
        return True

    with Threads(4) as threads:
        assert list(threads.map(save, ["Ann", "Bea", "Cas", "Dan"])).count(True) == 1
