"""What people do on our pages, by what they see there."""

from playwright.sync_api import Locator, Page, expect

PASSWORD = "correct horse battery"  # that of tests.conftest.make_staff


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """On a sign-in page."""
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/accounts/login/" not in url)


def write(page: Page, text: str) -> None:
    """Write a message to a chat and send it, once the page can."""
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill(text)
    expect(page.locator("[data-send]")).to_be_enabled()  # it is hidden while an answer is written
    box.press("Enter")


class ChatPage:
    """The hosted chat, open and connected or about to be."""

    def __init__(self, page: Page):
        self.page = page
        self.box = page.get_by_role("textbox", name="Message")
        self.thread = page.get_by_role("log")
        self.questions = page.locator(".msg.mine")
        self.answers = page.locator(".msg.theirs[data-message]")
        self.lost = page.locator("[data-lost]")
        self.sources = page.get_by_role("dialog")

    def say(self, text: str) -> None:
        """Write a message and send it."""
        write(self.page, text)

    def ask(self, text: str) -> Locator:
        """Send a message; return its answer when that is complete."""
        before = self.answers.count()
        self.say(text)
        expect(self.answers).to_have_count(before + 1)
        return self.answers.nth(before)
