"""Every page can be read, named and reached, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.ui.app.accessibility import PAGES, faults, show, stops_without_focus
from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(shared_app: tuple[str, Path], request: pytest.FixtureRequest) -> Iterator[Browser]:
    with browsing(shared_app[0], width=1280) as opened:
        opened.theme(request.param)
        yield opened


@pytest.mark.parametrize("page", PAGES)
def test_page_has_contrast_names_and_order(browser: Browser, page: str) -> None:
    show(browser, f"/{page}?category=grid")
    assert faults(browser) == []


def test_an_inspected_image_has_contrast_names_and_order(browser: Browser, dataset: Path) -> None:
    image = min((dataset / "test").glob("[!g]*/*.png"))
    show(browser, f"/?category=grid&image={image}")
    browser.see("worst patch, distance")
    browser.settled()
    assert faults(browser) == []
    banner = browser.driver.find_element(By.CSS_SELECTOR, "[role=status][aria-live=polite] b")
    assert banner.text in ("Ok", "Review", "Reject")


def test_keyboard_is_seen_wherever_it_is(browser: Browser) -> None:
    for page in PAGES:
        show(browser, f"/{page}?category=grid")
        assert stops_without_focus(browser, 12) == [], page


def test_checker_finds_what_it_looks_for(browser: Browser) -> None:
    browser.driver.get(
        "data:text/html,<h1>One</h1><h3>Three</h3><p style='color:%23aaa'>pale</p><button></button>"
        "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width=9 height=9>"
        "<label for=a>a</label><input id=a aria-label=x><b id=a></b>"
    )
    found = "\n".join(faults(browser))
    for said in ("contrast 2.", "no name: <button", "picture without alt", "heading skips from h1",
                 "no language", "no title", "id used twice, and referred to: a"):  # fmt: skip
        assert said in found
    browser.driver.get(
        "data:text/html,<style>a{outline:none}</style><a href=x>a</a><a href=y>b</a>"
    )
    assert stops_without_focus(browser, 2) == ["A a"]
