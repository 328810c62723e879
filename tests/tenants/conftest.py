"""What several tests of tenants' places start from."""

import pytest

from tenants.models import Database
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
