"""What several tests of tenants' places and domains start from."""

import pytest

from tenants.models import Database
from tests.doubles.dns_server import dns_server
from tests.tenants.moving import another, clear, write


@pytest.fixture
def second(acme) -> Database:
    """A shared database in which acme does not live."""
    return another(acme)


@pytest.fixture
def full(acme):
    """A tenant with some rows."""
    write(acme, 200)
    yield acme
    clear(acme)


@pytest.fixture(scope="package")
def _name_server():
    with dns_server() as server:
        yield server


@pytest.fixture
def dns(_name_server, settings):
    """The DNS, as Atrium sees it in this test."""
    settings.DNS_SERVERS = [("127.0.0.1", _name_server.port)]
    settings.DNS_SECONDS = 0.4
    return _name_server
