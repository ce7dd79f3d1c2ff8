"""Headless Chromium on the page, and all that a page did which a page must not."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""Debian's and other distributions'; playwright's own download is not needed."""
WIDE, PHONE = (1280, 900), (390, 844)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@dataclass
class Watched:
    """A page and what it asked for, said and threw."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def foreign(self) -> list[str]:
        """Requests to anywhere but the page's own server."""
        own = urlsplit(self.page.url).netloc
        return [url for url in self.requests if urlsplit(url).netloc != own and not url.startswith("data:")]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; ended at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def watched(
    browser: Browser, url: str, size: tuple[int, int] = WIDE, scheme: Scheme = "light", *, phone: bool = False
) -> Iterator[Watched]:
    """The page at the address, once it has loaded."""
    width, height = size
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=phone, is_mobile=phone
    )
    try:
        page = context.new_page()
        seen = Watched(page)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.goto(url, wait_until="load")
        yield seen
    finally:
        context.close()
