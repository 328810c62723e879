"""What stands in the log: who asked and what happened, never what opens a door."""

import io
import json
import logging

import pytest
from django.test import Client

from platform_site.logs import ContextFilter, JsonFormatter
from tenants.context import acting_for, acting_for_platform
from tests.conftest import host_of

SECRET = "s3cretOfALink"


@pytest.fixture
def lines():
    """What the process's log would hold."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(ContextFilter())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("path", [f"/invitation/{SECRET}/", f"/accounts/password/reset/key/1a-{SECRET}/"])
def test_a22_the_secret_of_a_mailed_link_is_not_logged(acme, lines, path):
    for host in (host_of(acme), "platform.localhost", "nobody.example"):
        Client(headers={"host": host}, enforce_csrf_checks=True).get(path)
        Client(headers={"host": host}, enforce_csrf_checks=True).post(path, {"password": "x"})
    assert any(path.split(SECRET)[0].split("1a-")[0] in json.dumps(line) for line in lines())
    assert SECRET not in json.dumps(lines())


def test_a_line_says_whose_it_is_also_where_the_work_is_for_nobody(acme, globex, lines):
    logger = logging.getLogger("a test")
    logger.warning("found", extra={"tenant_id": acme.id})
    with acting_for(globex):
        logger.warning("found", extra={"tenant_id": acme.id})
    with acting_for_platform("a test"):
        logger.warning("found")
    logger.warning("found")
    found = [line["tenant_id"] for line in lines() if line["message"] == "found"]
    assert found == [acme.id, globex.id, "platform", None]
