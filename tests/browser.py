"""The system's Chromium, driven by Playwright: pages of one person each, their keys, and what they complain of."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Locator, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAKE_MICROPHONE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
"""Beeps once a second, and nobody is asked."""
DESK, PHONE = (1366, 768), (390, 844)
MAX_TABS = 80


@dataclass
class Chromium:
    """`complaints`: what scripts threw, and what a page's content security policy refused."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)

    def page(self, size: tuple[int, int] = DESK, *, dark: bool = False) -> Page:
        """A page with cookies and storage of its own, as of another person at another computer."""
        width, height = size
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=size == PHONE,
            has_touch=size == PHONE,
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if "Content Security" in said.text else None)
        return page


@contextmanager
def chromium(*more: str) -> Iterator[Chromium]:
    """`more` are arguments of its command."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *more])
        try:
            made = Chromium(browser)
            yield made
            assert made.complaints == []
        finally:
            browser.close()


def wait(page: Page, condition: str, seconds: float = 60) -> None:
    """Until a script's value is true. (Playwright's own way evaluates in the page, which our content security policy forbids.)"""
    until = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < until, f"never came true: {condition}; the page says {page.inner_text('body')}"
        page.wait_for_timeout(30)


def reach(wanted: Locator) -> None:
    """Presses Tab until what is wanted has the focus."""
    for _ in range(MAX_TABS):
        if wanted.evaluate("e => e === document.activeElement"):
            return
        wanted.page.keyboard.press("Tab")
    raise AssertionError(f"{MAX_TABS} times Tab do not reach {wanted}")


def type_in(wanted: Locator, text: str) -> None:
    """Replaces what a field holds; in a select chooses the option that begins so."""
    reach(wanted)
    if wanted.evaluate("e => e.tagName !== 'SELECT'"):
        wanted.page.keyboard.press("Control+A")
    wanted.page.keyboard.type(text)


def press(wanted: Locator) -> None:
    """Follows a link or presses a button that leads to another page."""
    reach(wanted)
    with wanted.page.expect_navigation():
        wanted.page.keyboard.press("Enter")
