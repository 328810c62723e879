"""Pytest plugin: each of several pytest workers has services, database and data of its own.

`bin/test` starts them and says where they are; nothing one worker kills, empties or counts is another's. It must be
loaded before Django's settings are, so by name: ``-p tests.own_services``.
"""

import json
import os

# {"gw0": {"DATABASE_URL": ...}, ...}
_of_workers = json.loads(os.environ.get("ATRIUM_TEST_WORKERS", "{}"))
os.environ.update(_of_workers.get(os.environ.get("PYTEST_XDIST_WORKER", ""), {}))
