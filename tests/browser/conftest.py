"""A real Chromium on real processes. A page that logs an error, breaks the policy or asks another origin fails.

Chromium resolves names below .localhost to loopback by itself, so each tenant is opened on its own host.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from platform_site import demo
from platform_site.local import check
from tenants import directory
from tenants.accounts.models import User
from tenants.context import acting_for, acting_for_platform
from tests.browser.pages import PASSWORD, sign_in
from tests.browser.site import Site

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--no-first-run"]  # fmt: skip
DESKTOP, PHONE = (1440, 900), (390, 844)
SEED_SECONDS = 90
PATIENCE_MS = 20_000  # on a machine that others use too
_failed = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items) -> None:
    """The first test of a run also waits for the processes and the demo documents."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("browser")
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let fixtures know that their test has failed."""
    report = yield
    if report.when == "call":
        item.stash[_failed] = report.failed
    return report


@pytest.fixture(scope="session")
def site(worker) -> Iterator[Site]:
    """The web process, with the demo tenants and their documents ready. Tests only read those."""
    site = Site()
    try:
        site.start()
        demo.seed(lambda line: None, wait_seconds=SEED_SECONDS)
        site.wait()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Of this package, not of the run: while Playwright runs, its event loop does, and no async test can."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # tests use the ORM beside that loop, never inside of it
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=check.browser(), args=QUIET)
        yield browser
        browser.close()


class Visits:
    """Opens pages, each in a browser profile of its own, and remembers what went wrong in them."""

    def __init__(self, browser: Browser, site: Site):
        self._browser, self._site = browser, site
        self.pages: list[Page] = []
        self.faults: list[str] = []
        self._expected: list[re.Pattern] = []

    def __call__(self, name: str, path: str = "/", *, size=DESKTOP, scheme="light", state=None, **more) -> Page:
        """Open a page of the host ``name``.localhost. state: the cookies of an earlier profile."""
        width, height = size
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce",
            storage_state=state, locale="en-GB", timezone_id="Europe/London", **more,
        )  # fmt: skip
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", lambda request: self._same_origin(request.url))
        page.on("websocket", lambda socket: self._same_origin(socket.url))
        self.pages.append(page)
        page.goto(self._site.url(name, path))
        return page

    def expect_fault(self, pattern: str) -> None:
        """Faults that match do not fail the test: it causes them."""
        self._expected.append(re.compile(pattern))

    def unexpected(self) -> list[str]:
        """All that went wrong and should not have."""
        return [fault for fault in self.faults if not any(pattern.search(fault) for pattern in self._expected)]

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _same_origin(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "data":
            return
        if not (parts.hostname or "").endswith(".localhost") or parts.port != self._site.port:
            self.faults.append(f"request to another origin: {url}")


@pytest.fixture
def visit(chromium, site, request) -> Iterator[Visits]:
    """``visit("sunrise", "/chat/")``: a page of a tenant, by a new visitor."""
    visits = Visits(chromium, site)
    yield visits
    if request.node.stash.get(_failed, False):
        _keep_screenshots(request, visits.pages)
    for page in visits.pages:
        page.context.close()
    assert not visits.unexpected(), "\n".join(visits.unexpected())


def _keep_screenshots(request, pages: list[Page]) -> None:
    folder = Path(os.environ["DATA_DIR"]) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(pages, 1):
        path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)}-{number}.png"
        page.screenshot(path=path)
        request.node.add_report_section("call", "screenshot", str(path))


@pytest.fixture(scope="session")
def owner(site) -> str:
    """The e-mail address of an owner of the demo clinic."""
    email = "noor@sunrise.example"
    with acting_for(next(tenant for tenant in directory.all_active() if tenant.slug == "sunrise")):
        if not User.objects.filter(email=email).exists():
            User.objects.create_user(email, PASSWORD, name="Noor Haddad", role="owner")
    return email


@pytest.fixture(scope="session")
def operator(site) -> str:
    """An operator's e-mail address."""
    email = "robin@platform.example"
    with acting_for_platform("a test's operator"):
        if not User.objects.filter(email=email).exists():
            User.objects.create_superuser(email, PASSWORD, name="Robin Vale")
    return email


@pytest.fixture(scope="package")
def owner_state(chromium, site, owner) -> dict:
    """Cookies of the owner, who has signed in once."""
    return _signed_in(chromium, site.url("sunrise"), owner)


@pytest.fixture(scope="package")
def operator_state(chromium, site, operator) -> dict:
    """Cookies of the operator, who has signed in once."""
    return _signed_in(chromium, site.url("platform", "/admin/"), operator)


def _signed_in(browser: Browser, address: str, email: str) -> dict:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    sign_in(page, email)
    state = context.storage_state()
    context.close()
    return state
