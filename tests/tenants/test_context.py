"""tenants.context: who may act for whom, and what is refused."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connections

from agents.conversations.models import EndUser
from tenants import context, keys
from tenants.context import (
    acting_for,
    acting_for_platform,
    begin_for,
    current,
    current_or_none,
    is_platform,
    run_for,
    run_for_nobody,
)
from tenants.errors import NoTenantContext


def test_a_query_outside_any_tenant_is_refused():
    with pytest.raises(NoTenantContext):
        EndUser.objects.count()


def test_each_tenant_sees_its_own_rows(acme, globex):
    with acting_for(acme):
        EndUser.objects.create(secret_hash="a")
    with acting_for(globex):
        assert EndUser.objects.count() == 0


def test_two_tenants_never_nest(acme, globex):
    with acting_for(acme), pytest.raises(RuntimeError, match="already acting for tenant"), acting_for(globex):
        pass
    assert current_or_none() is None


def test_the_same_tenant_may_nest_and_the_context_is_restored(acme):
    with acting_for(acme):
        with acting_for(acme):
            assert current() == acme
        assert current() == acme
    with pytest.raises(NoTenantContext):
        current()


def test_a_tenant_may_act_inside_platform_work_but_not_the_other_way_round(acme):
    with acting_for_platform("a test"):
        assert is_platform()
        with acting_for(acme):
            assert not is_platform()
            with pytest.raises(RuntimeError, match="refusing the platform"), acting_for_platform("a test"):
                pass
        assert is_platform()


def test_platform_work_is_logged_with_its_reason_once(caplog):
    with (
        caplog.at_level(logging.INFO, logger="tenants.context"),
        acting_for_platform("a very good reason"),
        acting_for_platform("inner"),
    ):
        pass
    assert [record.reason for record in caplog.records] == ["a very good reason"]


def test_the_context_is_left_after_an_error(acme):
    with pytest.raises(ValueError), acting_for(acme):
        raise ValueError
    assert current_or_none() is None


def test_refs_are_equal_by_id_whatever_their_epoch(acme):
    moved = replace(acme, alias="elsewhere_v2", epoch=2)
    assert moved == acme
    with acting_for(acme), acting_for(moved):
        assert current().alias == "elsewhere_v2"


async def test_verbs_run_on_other_threads_for_the_right_tenant(acme, globex):
    async def seen_by(tenant):
        return await run_for(tenant, lambda: current().id)

    assert await asyncio.gather(seen_by(acme), seen_by(globex), seen_by(acme)) == [acme.id, globex.id, acme.id]
    assert current_or_none() is None


async def test_what_a_verb_raises_reaches_who_awaits_it(acme):
    def fail(error):
        raise error

    with pytest.raises(KeyError, match="lost"):
        await run_for(acme, fail, KeyError("lost"))
    with pytest.raises(RuntimeError, match="StopIteration"):  # no future could carry it
        await run_for(acme, fail, StopIteration())


async def test_a_cancelled_verb_goes_on_and_one_not_begun_never_begins(acme, monkeypatch):
    single = ThreadPoolExecutor(1)
    monkeypatch.setattr(context, "_threads", lambda *_: single)
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(name):
        begun.set()
        go_on.wait(10)
        done.append(name)

    tasks = [asyncio.create_task(run_for(acme, work, name)) for name in ("begun", "waiting")]
    await asyncio.to_thread(begun.wait, 10)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    go_on.set()
    await asyncio.to_thread(single.shutdown)
    assert done == ["begun"]


async def test_connections_go_back_after_each_verb_even_when_that_fails(acme, monkeypatch, caplog):
    single = ThreadPoolExecutor(1)
    monkeypatch.setattr(context, "_threads", lambda *_: single)
    await run_for(acme, EndUser.objects.count)
    assert await asyncio.wrap_future(single.submit(lambda: connections[acme.alias].connection)) is None

    def fail():
        raise OSError("broken")

    monkeypatch.setattr(context, "close_old_connections", fail)
    assert await run_for(acme, lambda: "answer") == "answer"
    await asyncio.to_thread(single.shutdown)
    assert "not given back" in caplog.text


def test_work_whose_loop_has_ended_is_finished(acme):
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        if go_on.wait(10):
            done.set()

    async def leave():
        asyncio.ensure_future(run_for(acme, work))
        assert await asyncio.to_thread(begun.wait, 10)

    asyncio.run(leave())
    go_on.set()
    assert done.wait(10)


def test_a_verb_begun_for_another_thread_acts_for_its_tenant_and_gives_its_error_away(acme, globex):
    with acting_for(acme):
        EndUser.objects.create(secret_hash="x")
    assert [begin_for(tenant, EndUser.objects.count).result(10) for tenant in (acme, globex)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        begin_for(acme, lambda: 1 / 0).result(10)


async def test_a_database_that_keeps_its_threads_busy_holds_up_no_other(acme, settings):
    elsewhere, go_on = replace(acme, id=acme.id + 1_000_000, alias="elsewhere"), threading.Event()
    waiting = [asyncio.create_task(run_for(elsewhere, go_on.wait, 20)) for _ in range(settings.DATABASE_THREADS + 1)]
    async with asyncio.timeout(10):
        assert await run_for(acme, lambda: current().id) == acme.id
    assert not any(task.done() for task in waiting)
    go_on.set()
    assert all(await asyncio.gather(*waiting))


async def test_a_verb_for_nobody_has_no_tenant():
    assert await run_for_nobody(current_or_none) is None


def test_a7_names_in_shared_stores_say_whose_they_are(acme):
    turn = uuid4()
    with acting_for(acme):
        assert keys.redis_key("turn", turn) == f"t:{{{acme.id}}}:turn:{turn}"
        assert keys.channel_group("inbox") == f"t.{acme.id}.inbox"
        assert keys.storage_path("documents/x") == f"t/{acme.id}/documents/x"
        assert keys.collection_alias() == f"t_{acme.id}"


@pytest.mark.parametrize(
    "make", [lambda: keys.redis_key("x"), lambda: keys.channel_group("x"), lambda: keys.storage_path("x"),
             keys.collection_alias, lambda: cache.get("x")],
)  # fmt: skip
def test_outside_a_tenant_there_are_no_names(make):
    with pytest.raises(NoTenantContext):
        make()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a\\..\\..\\b", "a\0b"])
def test_a17_a_file_name_cannot_leave_its_tenants_folder(acme, name):
    with acting_for(acme), pytest.raises(ValueError, match="may not leave"):
        keys.storage_path(name)


def test_a8_cache_entries_of_one_key_are_apart(acme, globex):
    with acting_for(acme):
        cache.set("greeting", "hello")
    with acting_for(globex):
        assert cache.get("greeting") is None
    with acting_for_platform("a test"):
        assert cache.get("greeting") is None
    with acting_for(acme):
        assert cache.get("greeting") == "hello"


def test_a17_files_of_one_name_are_apart(acme, globex):
    with acting_for(acme):
        name = default_storage.save("note.txt", ContentFile(b"acme"))
        assert f"/t/{acme.id}/" in default_storage.path(name)
        with pytest.raises(ValueError, match="no public address"):
            default_storage.url(name)
    with acting_for(globex):
        assert not default_storage.exists(name)
    with pytest.raises(NoTenantContext):
        default_storage.exists(name)


def test_log_records_say_whose_they_are(acme):
    from platform_site.logs import ContextFilter

    record = logging.makeLogRecord({})
    with acting_for(acme):
        ContextFilter().filter(record)
    assert record.tenant_id == acme.id
    with acting_for_platform("a test"):
        ContextFilter().filter(record)
    assert record.tenant_id == "platform"
