"""Every page can be read, named and reached, in both themes, and asks no other host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By

from tests.ui.app.accessibility import faults, stops_without_focus
from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)
PAGES = ("", "batch", "library", "calibration", "reports", "system")


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(shared_app: tuple[str, Path], request: pytest.FixtureRequest) -> Iterator[Browser]:
    with browsing(shared_app[0], width=1280) as opened:
        opened.theme(request.param)
        yield opened


def show(browser: Browser, path: str) -> None:
    browser.open(path)
    browser.wait("title", lambda: browser.driver.find_element(By.TAG_NAME, "h1").text)
    browser.settled()


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


def test_no_page_asks_another_host_for_anything(browser: Browser, dataset: Path) -> None:
    browser.requested()
    image = min((dataset / "test").glob("[!g]*/*.png"))
    for page in (*PAGES, f"?image={image}"):
        show(browser, f"/{page}{'&' if '?' in page else '?'}category=grid")
    asked = [urlsplit(address) for address in browser.requested()]
    icon = browser.driver.find_element(By.CSS_SELECTOR, "link[rel~=icon]").get_attribute("href")
    asked.append(urlsplit(str(icon)))
    assert len(asked) > 20
    elsewhere = {a.hostname for a in asked if a.scheme not in ("data", "blob")} - {"localhost"}
    assert elsewhere == set()
