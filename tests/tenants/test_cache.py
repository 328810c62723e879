"""What a process remembers of its tenants for some seconds."""

from types import SimpleNamespace

import pytest

from tenants import cache
from tenants.context import TenantRef, acting_for, current
from tenants.errors import NoTenantContext

ONE, OTHER = (TenantRef(id=n, slug=f"t{n}", name="", schema=f"t_{n}", role="", alias="shared_1") for n in (1, 2))


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be set forward."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(cache, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def asked() -> list:
    """Who was read of, in order."""
    return []


@pytest.fixture
def values(asked) -> cache.TenantCache:
    def read(key):
        asked.append((current().id, key))
        return current().id, key, len(asked)

    return cache.TenantCache(read)


def test_each_tenant_has_its_own_values_and_nobody_has_none(clock, values, asked):
    for _ in range(2):
        for ref in (ONE, OTHER):
            with acting_for(ref):
                assert values.get("a")[:2] == (ref.id, "a")
                assert values.get("b")[:2] == (ref.id, "b")
    assert asked == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    with pytest.raises(NoTenantContext):
        values.get("a")


def test_what_is_old_is_read_again(clock, values, asked):
    with acting_for(ONE):
        first = values.get("a")
        clock.seconds += cache.LIFETIME_SECONDS + 1
        assert values.last_known(ONE.id, "a") == first
        assert values.get("a") != first


def test_what_was_forgotten_while_it_was_read_is_not_kept(clock):
    stored = ["old"]

    def read():
        before = stored[0]
        stored[0] = "new"  # another thread changes it,
        values.forget(ONE.id)  # and says so
        return before

    values = cache.TenantCache(read)
    with acting_for(ONE):
        assert values.get() == "old"
        assert values.get() == "new"


def test_a_slow_read_does_not_put_an_older_value_over_a_newer_one(clock):
    stored, overtaking = ["old"], []

    def read():
        before = stored[0]
        if not overtaking:  # it is changed elsewhere meanwhile, and somebody reads that
            overtaking.append(True)
            stored[0] = "new"
            clock.seconds += 1
            assert values.get() == "new"
        return before

    values = cache.TenantCache(read)
    with acting_for(ONE):
        assert values.get() == "old"
        assert values.get() == "new"


def test_only_what_was_asked_for_lately_and_ends_soon_is_refreshed(clock, values, asked):
    with acting_for(ONE):
        values.get("a")
        clock.seconds += cache.LIFETIME_SECONDS * 0.6
        values.get("b")
        assert values.expires_soon(ONE.id) and not values.expires_soon(OTHER.id)
        values.refresh()
        assert not values.expires_soon(ONE.id)
        clock.seconds += cache.LIFETIME_SECONDS * 2
        values.refresh()
    assert asked == [(1, "a"), (1, "b"), (1, "a")]
