"""The console in a real browser: all pages, light and dark, on a phone and on a desk, by keyboard, for screen readers.

With RECSYS_SCREENSHOTS set to a folder, screenshots are written there (`docs/images` has them).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.serving.console.browser import DESKTOP, PHONE, Visit, chromium
from tests.serving.console.shop import KEY, Shop, shop

pytestmark = pytest.mark.slow

PAGES = {
    "live": "",
    "try": "try?user=ada&count=5&why=1",
    "experiments": "experiments",
    "user": "lookup?user=ada",
    "item": "lookup?item=%3Cb%3Esoda%3C%2Fb%3E",
    "erase": "erase?user=ada",
    "tables": "tables",
    "sign-in": "sign-in",
    "not-there": "nothing",
}
SHOWN = (
    ("live", "light", DESKTOP),
    ("live", "dark", PHONE),
    ("try", "dark", DESKTOP),
    ("experiments", "light", DESKTOP),
)
"""What the documentation shows."""
SCREENSHOTS = os.environ.get("RECSYS_SCREENSHOTS", "")
WARM_UP = 90.0
"""Seconds for which plots fill before screenshots."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    busy = {"customers": 2000, "more": 40} if SCREENSHOTS else {}
    with shop(tmp_path_factory.mktemp("shop"), **busy) as one:
        if SCREENSHOTS:
            threading.Event().wait(WARM_UP)
        yield one


@pytest.fixture(scope="module")
def signed_in(browser: Browser, opened: Shop) -> Any:
    """The cookies of a browser after the form was sent."""
    with Visit(browser, opened.url) as visit:
        page = visit.go("try")
        assert page.url.endswith("/console/sign-in")
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Live", exact=True)).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        return page.context.storage_state()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page(
    browser: Browser, opened: Shop, signed_in: Any, scheme: Literal["light", "dark"], size: tuple[int, int]
) -> None:
    """Nothing is wider than the window; axe finds nothing; no page asks anybody else or says something is wrong."""
    with Visit(browser, opened.url, size, color_scheme=scheme, storage_state=signed_in) as visit:
        for name, address in PAGES.items():
            page = visit.go(address)
            if name == "not-there":
                assert "the server responded with a status of 404" in visit.wrong.pop()
            if name == "live":
                expect(page.locator("[data-plot=lag] canvas")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
            background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 600) == (scheme == "light")
            assert violations(page) == [], name
            if SCREENSHOTS and (name, scheme, size) in SHOWN:
                file = f"console-{name}.png" if size == DESKTOP else f"console-{name}-phone.png"
                visit.save(Path(SCREENSHOTS) / file, whole=size == DESKTOP)


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    nodes = [(one["id"], node) for one in found for node in one["nodes"]]
    return [f"{rule}: {node['html'][:200]} {node.get('failureSummary', '')}" for rule, node in nodes]


def test_by_keyboard(browser: Browser, opened: Shop, signed_in: Any) -> None:
    """All controls are reached in the order of the page, are seen to be, and work."""
    with Visit(browser, opened.url, storage_state=signed_in) as visit:
        page = visit.go("")
        page.keyboard.press("Tab")
        reached: list[str] = []
        while (name := page.evaluate("document.activeElement.textContent.trim()")) != "Pause" and len(reached) < 20:
            page.keyboard.press("Tab")
            reached.append(name)
        assert reached[:3] == ["Skip to the content", "Live", "Try a user"]
        assert "Sign out" in reached
        page.get_by_role("link", name="Try a user").focus()
        page.keyboard.press("Enter")
        page.get_by_label("User id").focus()
        page.keyboard.type("ada")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type("tea\nwater")
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
        assert outline != "none"
        page.keyboard.press("Enter")
        expect(page.get_by_role("rowheader", name="1", exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="Ranking")).to_contain_text("tea")


def test_the_live_page_refreshes_until_it_is_paused(browser: Browser, opened: Shop, signed_in: Any) -> None:
    with Visit(browser, opened.url, storage_state=signed_in) as visit:
        visit.page.clock.install()
        page = visit.go("")
        expect(page.locator("[data-plot=lag] canvas")).to_be_visible()
        page.get_by_text("What the columns of “Models and versions” mean").click()
        meaning = page.get_by_text("Label of the exported graph")
        step = page.locator(".tiles div", has_text="Optimizer steps").locator(".figure")
        before = step.text_content() or ""
        while step.text_content() == before:
            with page.expect_response("**/console/live"):
                page.clock.fast_forward(2500)
        expect(meaning).to_be_visible()
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.get_by_role("button", name="Pause").click()
        asked = len(visit.asked)
        page.clock.fast_forward(60_000)
        page.clock.run_for(10_000)
        assert len(visit.asked) == asked
        with page.expect_response("**/console/live"):
            page.get_by_role("button", name="Go on").click()
            page.clock.fast_forward(2500)


def test_a_click_moves_the_scores(browser: Browser, opened: Shop, signed_in: Any) -> None:
    with Visit(browser, opened.url, PHONE, storage_state=signed_in) as visit:
        page = visit.go("try?user=bob&items=water%0Ajuice")
        expect(page.get_by_text("Not logged.")).to_be_visible()
        page.get_by_role("button", name="Ask as a real request").click()
        expect(page.get_by_text("Logged as impression")).to_be_visible()
        page.get_by_role("combobox", name="Item").select_option("water")
        page.get_by_role("button", name="Send the action").click()
        status = page.get_by_role("status")
        expect(status).to_contain_text("Waiting for the trainer")
        opened.learn({"water": 0.4})
        expect(status).to_contain_text("The scores moved")
        scores = page.get_by_role("region", name="Scores before and after")
        expect(scores.get_by_role("row").nth(1)).to_contain_text("2 → 1")
        assert violations(page) == []


def test_a_user_is_erased(browser: Browser, opened: Shop, signed_in: Any) -> None:
    with Visit(browser, opened.url, storage_state=signed_in) as visit:
        page = visit.go("lookup?user=bob")
        expect(page.get_by_role("region", name="Features, as served")).to_contain_text("se")
        page.get_by_role("button", name="Erase this user").click()
        page.get_by_label("Type the user's id once more").fill("bob")
        page.get_by_role("button", name="Erase for ever").click()
        expect(page.get_by_role("status")).to_contain_text("Nothing of the user is left")


def test_without_scripts(browser: Browser, opened: Shop, signed_in: Any) -> None:
    with Visit(browser, opened.url, java_script_enabled=False, storage_state=signed_in) as visit:
        page = visit.go("")
        page.get_by_role("link", name="Try a user").click()
        page.get_by_label("User id").fill("ada")
        page.get_by_role("button", name="Look").click()
        expect(page.get_by_role("region", name="Ranking")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()


def test_old_figures_are_said_to_be_old(browser: Browser, opened: Shop, signed_in: Any) -> None:
    with Visit(browser, opened.url, storage_state=signed_in) as visit:
        visit.page.clock.install()
        page = visit.go("")
        expect(page.locator("[data-plot=lag] canvas")).to_be_visible()
        note = page.get_by_role("alert")
        expect(note).to_be_hidden()
        page.route("**/console/live", lambda route: route.abort())
        page.clock.fast_forward(2500)
        expect(note).to_contain_text(
            re.compile(r"The server does not answer: what stands here is from \d\d:\d\d:\d\d UTC")
        )
        assert violations(page) == []
        page.unroute("**/console/live")
        page.clock.fast_forward(2500)
        expect(note).to_be_hidden()
        assert [one for one in visit.wrong if "ERR_FAILED" not in one and "htmx:" not in one] == []
        visit.wrong.clear()  # the browser's own words about what was aborted


def test_requests_are_tried_on_the_page_of_the_api(browser: Browser, opened: Shop) -> None:
    with Visit(browser, opened.url) as visit:
        page = visit.page
        page.goto(f"{opened.url}/docs")
        form = page.locator("form[data-path='/v1/rank']")
        form.get_by_role("checkbox").check()
        shown = page.locator("form[data-path='/v1/rank'] + pre")
        form.get_by_role("button", name="Send").click()
        expect(shown).to_contain_text("401")
        page.get_by_label("API key").fill(KEY)
        form.get_by_role("button", name="Send").click()
        expect(shown).to_contain_text('"impression"')
        assert [one for one in visit.wrong if "401" not in one] == []
        visit.wrong.clear()
        assert violations(page) == []
