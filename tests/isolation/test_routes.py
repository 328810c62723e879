"""Every route of every kind of host, called by every kind of caller with a stranger's ids: as if those did not exist.

By default each caller asks each route by GET and by one other method, which take turns, and the two strangers take
turns too; `bin/test full` tries every method with both.
"""

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client

from tenants.accounts import roles
from tests.conftest import FULL, host_of
from tests.isolation.callers import answer, caller
from tests.isolation.matrix import Route, random_ids, routes

CHANGING = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
METHODS = ("GET", *CHANGING)
PRINCIPALS = (*roles.RIGHTS, "visitor", "key", "nobody", "operator")
ROUTES = routes()
PLATFORM_ROUTES = routes(settings.PLATFORM_URLCONF)
each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.pattern or "(root)")


def drawn(route: Route, principal: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Which methods are tried, and with which of the strangers."""
    if FULL:
        return METHODS, (0, 1)
    turn = ROUTES.index(route) + PRINCIPALS.index(principal)
    return ("GET", CHANGING[turn % len(CHANGING)]), (turn % 2,)


@each_route
def test_a1_foreign_ids_are_answered_like_ids_that_do_not_exist(route, world, worker):
    for principal in PRINCIPALS:
        methods, strangers = drawn(route, principal)
        for victim in [world.strangers[number] for number in strangers]:
            asked = [(victim.ids, caller(principal, world.home))]
            if route.parameters:
                asked.append((random_ids(victim), caller(principal, world.home)))
            for method in methods:
                foreign, *made_up = [answer(client, method, route, ids, victim.tenant) for ids, client in asked]
                assert not world.leaked(foreign[1] + foreign[2]), (principal, method)
                assert foreign[0] < 500 or route.pattern == "readyz", (principal, method, foreign[1][:300])
                assert made_up in ([], [foreign]), (principal, method)
                if route.parameters and not route.pattern.startswith("accounts/"):  # allauth explains a bad link: 200
                    assert foreign[0] not in (201, 204) and (foreign[0] != 200 or method == "OPTIONS"), principal
    assert world.untouched()
    assert not any(world.leaked(str(letter.message())) for letter in mail.outbox)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.parameters], ids=lambda route: route.pattern)
def test_a1_where_keys_are_equal_each_tenant_has_its_own_row(route, world, worker):
    """A's own row has the stranger's id: whatever A does with it, only A's is shown and changed."""
    for principal in PRINCIPALS:
        methods, strangers = drawn(route, principal)
        for victim in [world.twins[number] for number in strangers]:
            world.replant()
            client = caller(principal, world.home)
            for method in methods:
                _, body, where = answer(client, method, route, victim.ids, victim.tenant)
                assert not world.leaked(body) and not world.leaked(where), (principal, method)
    assert world.untouched()


def test_an_owner_sees_the_row_whose_key_others_have_too(world, worker):
    """What the test above would not notice: that A finds its own."""
    world.replant()
    route = next(route for route in ROUTES if route.pattern == "knowledge/<uuid:document_id>/")
    status, body, _ = answer(caller("owner", world.home), "GET", route, world.home.ids, world.home.tenant)
    assert status == 200 and world.home.canary.encode() in body


def test_every_parameter_of_a_route_is_in_the_matrix(world):
    unknown = {name for route in ROUTES for name in route.parameters} - set(world.home.ids)
    assert unknown == set(), f"tell tests/isolation/matrix.py how to find ids of another tenant for {unknown}"


@each_route
def test_a4_a_session_of_one_host_is_nobody_at_all_others(route, world, worker):
    homes = [("owner", world.home), ("operator", world.home), ("owner", world.twins[1])]
    for number, (principal, home) in enumerate(homes):
        visited = [
            victim
            for victim in (world.home, *world.strangers)
            if principal == "operator" or victim.tenant != home.tenant
        ]
        for there in visited if FULL else visited[number % 2 :][:1]:
            visiting, nobody = (Client(headers={"host": host_of(there.tenant)}) for _ in range(2))
            visiting.cookies = caller(principal, home).cookies
            asked = [answer(client, "GET", route, there.ids, there.tenant) for client in (visiting, nobody)]
            assert asked[0] == asked[1], (principal, there.tenant.slug)


@each_route
def test_a3_a24_naming_another_tenant_in_a_request_changes_nothing(route, world, worker):
    ids = random_ids(world.home)
    for principal in ("owner", "key", "nobody"):
        plain, naming = caller(principal, world.home), caller(principal, world.home)
        naming.cookies["tenant"] = naming.cookies["schema"] = world.twins[0].tenant.schema
        assert answer(plain, "GET", route, ids, world.home.tenant) == answer(
            naming, "GET", route, ids, world.twins[0].tenant
        ), principal


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.pattern.startswith("api/")], ids=lambda r: r.pattern
)
def test_a5_a_key_of_one_tenant_opens_nothing_at_another(route, world):
    for victim in world.strangers:
        client = Client(headers={"host": host_of(victim.tenant), "authorization": f"Bearer {world.home.key}"})
        for method in METHODS:
            status, body, _ = answer(client, method, route, victim.ids, victim.tenant)
            assert status == 401 or route.pattern == "api/v1/schema/", (method, body)


def test_a5_a_key_and_a_session_together_are_refused(world):
    client = caller("owner", world.home)
    response = client.get("/api/v1/documents/", headers={"authorization": f"Bearer {world.home.key}"})
    assert (response.status_code, response.json()["code"]) == (401, "two_identities")


@pytest.mark.parametrize("route", PLATFORM_ROUTES, ids=lambda route: route.pattern or "(root)")
def test_a19_a_tenants_people_are_nobody_at_the_operators_host(route, world, worker):
    victim = world.strangers[0]
    number = str(victim.tenant.id)
    known = {**victim.ids, "object_id": number, "id": number, "content_type_id": "1", "app_label": "tenants"}
    ids = {**dict.fromkeys(route.parameters, victim.ids["agent"]), **known}
    people = PRINCIPALS[:-1] if FULL else ("owner", PRINCIPALS[PLATFORM_ROUTES.index(route) % 8])
    for method in ("GET", "POST"):
        asked = []
        for principal in (*people, "nobody"):
            client = caller(principal, world.home)
            client.defaults["HTTP_HOST"] = settings.PLATFORM_HOST
            asked.append(answer(client, method, route, ids, victim.tenant))
            assert not world.leaked(asked[-1][1]), (principal, method)
        assert all(one == asked[-1] for one in asked), method
    assert world.untouched()


def test_a22_what_a_tenants_work_logs_sends_and_queues_tells_nothing_of_others(world, worker):
    """The fixture looks once more at the end, after all other tests of the world."""
    for principal in PRINCIPALS:
        client = caller(principal, world.home)
        for route in ROUTES:
            answer(client, "GET", route, world.home.ids, world.home.tenant)
    assert len(world.logged) > 0 and world.overheard() == []
