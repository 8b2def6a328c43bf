"""The frame of the app in a real browser: addresses, batches, and what stays in sight."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.ui.app.accessibility import PAGES, show
from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)
_IN_SIGHT = """
const box = arguments[0].getBoundingClientRect();
return box.height > 0 && box.top >= 0 && box.bottom <= window.innerHeight;"""


@pytest.fixture(scope="module")
def browser(shared_app: tuple[str, Path]) -> Iterator[Browser]:
    with browsing(shared_app[0], height=900) as opened:
        yield opened


def in_sight(browser: Browser, label: str) -> bool:
    buttons = browser.driver.find_elements(By.TAG_NAME, "button")
    button = next(b for b in buttons if b.text.split("\n")[-1].strip() == label)
    return bool(browser.driver.execute_script(_IN_SIGHT, button))


def scroll(browser: Browser, to: int) -> None:
    browser.driver.execute_script(
        "document.querySelector('[data-testid=stMain]').scrollTo(0, arguments[0])", to
    )


def score_folder(browser: Browser, folder: Path) -> None:
    find = browser.driver.find_elements
    browser.wait("fold", lambda: find(By.TAG_NAME, "summary"))
    if not find(By.CSS_SELECTOR, "details[open]"):
        find(By.TAG_NAME, "summary")[0].click()

    def typed() -> bool:
        find(By.XPATH, "//*[@role='tab'][contains(., 'Folder')]")[0].click()
        fields = find(By.CSS_SELECTOR, "input[aria-label=Folder]")
        field = next(field for field in fields if field.is_displayed())
        field.send_keys(Keys.CONTROL + "a")
        field.send_keys(str(folder), Keys.ENTER)
        return True

    browser.wait("folder", typed)
    browser.click(f"Score {len(list(folder.rglob('*.png')))} images")


def has_counted(browser: Browser, images: int) -> bool:
    cells = browser.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stMetricValue]")
    return sum(int(cell.text) for cell in cells) == images


def test_second_batch_shows_its_own_name_and_counts(browser: Browser, dataset: Path) -> None:
    browser.open("/batch?category=grid")
    addresses = []
    for folder, count in ((dataset / "test" / "good", 4), (dataset / "test", 10)):
        score_folder(browser, folder)
        browser.wait(f"{count} counted", partial(has_counted, browser, count))
        browser.see("Make the report")
        addresses.append(browser.driver.current_url)
    assert addresses[0] != addresses[1]
    name = addresses[1].rpartition("batch=")[2].partition("&")[0]
    chosen = browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label=Batch]")
    assert chosen.get_attribute("value") == name
    browser.click("CSV")
    browser.click("Make the report")
    browser.see("Report")
    assert "This page " not in browser.text()
    browser.open(addresses[0].removeprefix(browser.address))
    browser.wait("the first again", partial(has_counted, browser, 4))


def test_copied_address_shows_the_same_patch_and_likeness(browser: Browser, dataset: Path) -> None:
    image = min((dataset / "test").glob("[!g]*/*.png"))
    browser.open(f"/?category=grid&image={image}")
    browser.see("worst patch, distance")
    browser.inside(".stage").send_keys(Keys.ARROW_LEFT * 40 + Keys.ARROW_UP * 40 + Keys.ENTER)
    browser.see("patch 0, 0, distance")
    browser.click("the whole")
    browser.wait("likeness", lambda: "alike=" in browser.driver.current_url)
    copied = browser.driver.current_url
    with browsing(browser.address) as other:
        other.driver.get(copied)
        other.see("patch 0, 0, distance")
        chosen = other.driver.find_element(By.CSS_SELECTOR, "[role=radio][aria-checked=true]")
        assert chosen.text == "the whole"


def test_teach_and_undo_stay_in_sight_wherever_the_page_is_scrolled(
    browser: Browser, dataset: Path, shared_app: tuple[str, Path]
) -> None:
    new = shared_app[1] / "new.png"
    new.write_bytes(min((dataset / "test" / "good").iterdir()).read_bytes() + b"\0")
    browser.open(f"/?category=grid&image={new}")
    browser.see("Similar defects")
    browser.settled()
    assert in_sight(browser, "This is fine")
    browser.click("This is fine")
    browser.see("known defects would pass because of it")
    assert in_sight(browser, "Teach")
    browser.click("Teach")
    browser.see("Undo revision 2 of grid")
    browser.settled()
    for position in (0, 500, 5000):
        scroll(browser, position)
        assert in_sight(browser, "Undo revision 2 of grid"), position
    browser.menu("Library")
    browser.see("Undo revision 2 of grid")


def test_undo_in_one_tab_leaves_what_another_person_did(
    browser: Browser, shared_app: tuple[str, Path], dataset: Path
) -> None:
    new = shared_app[1] / "second.png"
    new.write_bytes(min((dataset / "test" / "good").iterdir()).read_bytes() + b"\1")
    browser.open(f"/?category=grid&image={new}")
    browser.click("This is fine")
    browser.click("Teach")
    browser.see("Undo revision")
    mine = next(line for line in browser.text().split("\n") if line.startswith("Undo revision"))
    with browsing(browser.address) as other:
        third = shared_app[1] / "third.png"
        third.write_bytes(new.read_bytes() + b"\2")
        other.open(f"/?category=grid&image={third}")
        other.click("This is fine")
        other.click("Teach")
        other.see("Undo revision")
    browser.click(mine)
    browser.see("was not undone")
    browser.see("added 1 normal image")


def test_verdict_comes_before_the_picture_on_a_phone(browser: Browser, dataset: Path) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    image = min((dataset / "test").glob("[!g]*/*.png"))
    browser.open(f"/?category=grid&image={image}")
    browser.see("worst patch, distance")
    browser.settled()
    place = "return arguments[0].getBoundingClientRect().top"
    banner = browser.driver.find_element(By.CSS_SELECTOR, "[role=status][aria-live=polite]")
    top = browser.driver.execute_script(place, banner)
    assert 0 < top < browser.driver.execute_script(place, browser.inside(".photo"))
    assert top < 600, "it is not on the first screen"
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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
