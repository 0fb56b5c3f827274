"""A headless browser of the system, which talks to nobody but the server that is tested."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.needed import need

PHONE, DESKTOP = (390, 844), (1280, 900)
_PATIENCE = 120_000
"""Longest wait (ms) for what a page does."""
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """With an empty profile of its own. Skips the test, or fails it in CI, where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    need([] if path else ["chromium"], "chromium", "the console in a browser")
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page in a window of its own. At the end it checks that nothing was asked of others, and nothing went wrong."""

    def __init__(self, browser: Browser, url: str, size: tuple[int, int] = DESKTOP, **options: Any) -> None:
        self.url = url
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self._context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self._context.set_default_timeout(_PATIENCE)
        self.page: Page = self._context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        state = self.asked, self.wrong
        self._context.close()
        if kind is None:
            asked, wrong = state
            outside = [one for one in asked if not one.startswith((f"{self.url}/", "data:"))]
            assert asked
            assert not outside, outside
            assert not wrong, wrong

    def go(self, address: str) -> Page:
        """To a page of the console."""
        self.page.goto(f"{self.url}/console/{address}")
        return self.page

    def save(self, file: Path, *, whole: bool) -> None:
        """What the window shows, or the whole page, in 256 colours, which are plenty for text and lines."""
        file.parent.mkdir(parents=True, exist_ok=True)
        shot = Image.open(BytesIO(self.page.screenshot(full_page=whole)))
        shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
