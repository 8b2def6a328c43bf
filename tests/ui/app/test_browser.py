"""The app in a real browser: what a person does, and that it looks as it should."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from backbones.base import Backbone
from eval.benchmark.report import write_report
from eval.benchmark.run import run_benchmark
from indexer.catalog.commits import find_category
from indexer.store.open import open_store
from indexer.update.insertion import add_images
from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing, serving

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture
def browser(app_settings: Path) -> Iterator[Browser]:
    with serving(app_settings, {}) as address, browsing(address) as opened:
        yield opened


def test_upload_verdict_patch_evidence_slider_teach_and_undo(
    browser: Browser, dataset: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new part.png"
    new.write_bytes(min((dataset / "test").glob("[!g]*/*.png")).read_bytes() + b"\0")
    browser.open("/?category=grid")
    field = browser.wait(
        "upload", lambda: browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]")
    )
    field.send_keys(str(new))
    browser.see("normal parts scored this high")
    browser.see("worst patch, distance")

    stage = browser.inside(".stage")
    stage.send_keys(Keys.ARROW_LEFT * 40 + Keys.ARROW_UP * 40 + Keys.ENTER)
    browser.see("patch 0, 0, distance")

    script = """
        arguments[0].value = 10;
        arguments[0].dispatchEvent(new Event('input'));
        return getComputedStyle(arguments[1]).opacity;"""
    slider, heat = browser.inside(".bar input"), browser.inside(".heat")
    assert float(browser.driver.execute_script(script, slider, heat)) == pytest.approx(0.1)

    browser.click("This is fine")
    browser.see("Reject threshold")
    browser.click("Teach it all the same")
    browser.see("Revision 2 of grid: added 1 normal image")
    browser.click("Undo revision 2 of grid")
    browser.see("grid is back to what revision 1 was")
    assert "image=" in browser.driver.current_url


def test_clicking_a_patch_shows_what_it_was_compared_with(browser: Browser, dataset: Path) -> None:
    image = min((dataset / "test").glob("[!g]*/*.png"))
    browser.open(f"/?category=grid&image={image}")
    browser.see("worst patch, distance")
    stage = browser.inside(".stage")
    click = webdriver.ActionChains(browser.driver)
    size = stage.size
    click.move_to_element_with_offset(stage, 3 - size["width"] // 2, 3 - size["height"] // 2)
    click.click().perform()
    browser.see("patch 0, 0, distance")


def test_menu_keeps_the_category_and_what_a_page_showed(browser: Browser, dataset: Path) -> None:
    image = min((dataset / "test").glob("[!g]*/*.png"))
    browser.open(f"/?category=grid&image={image}")
    browser.see("worst patch, distance")
    for page in ("Library", "Reports", "System", "Inspect"):
        browser.menu(page)
        browser.wait(page, lambda: "category=grid" in browser.driver.current_url)
    browser.see("worst patch, distance")
    assert image.name in browser.driver.current_url


def test_a_link_opens_a_library_image_and_its_page_by_itself(browser: Browser) -> None:
    browser.open("/library?category=grid")
    browser.see("page 1 of")
    browser.inside(".card button").click()
    browser.wait("link", lambda: "image=" in browser.driver.current_url)
    link = browser.driver.current_url
    browser.driver.switch_to.new_window("tab")
    browser.driver.get(link)
    browser.see("Close")


def test_ticked_images_are_named_together(browser: Browser) -> None:
    browser.open("/library?category=grid")
    browser.see("page 1 of")
    browser.inside(".card input").click()
    browser.see("1 ticked")
    browser.click("Name")
    browser.see("A note, as NAME=VALUE")
    field = browser.driver.find_element(By.CSS_SELECTOR, "[role=dialog] [placeholder='line=3']")
    field.send_keys("line=7", Keys.ENTER)
    browser.click("Save")
    browser.see("labelled 1 image line=7")


def test_gallery_pages_forth_and_back(
    app_settings: Path, network: Backbone, dataset: Path, request: pytest.FixtureRequest
) -> None:
    source = min((dataset / "test" / "good").iterdir())
    more = [app_settings / f"more{number:02}.png" for number in range(30)]
    for number, path in enumerate(more):
        path.write_bytes(source.read_bytes() + bytes([number]))
    with open_store(os.environ["VECSPECT_STORE"]) as store:
        add_images(more, category=find_category(store, "grid"), backbone=network)
    browser: Browser = request.getfixturevalue("browser")
    browser.open("/library?category=grid")
    browser.see("56 images, page 1 of 2")
    browser.click("Next")
    browser.see("page 2 of 2")
    browser.wait("last card", lambda: "more29.png" in browser.inside(".gallery").text)
    assert "page=2" in browser.driver.current_url
    browser.click("Back")
    browser.see("page 1 of 2")


def test_a_report_is_shown_in_a_frame_without_scripts(
    browser: Browser, app_settings: Path, dataset: Path
) -> None:
    result = run_benchmark([dataset], ["compact"], out=app_settings / "bench")
    page = write_report(result, app_settings / "bench").html
    page.write_text(page.read_text() + "<script>top.document.title = 'taken'</script>")
    browser.open("/reports")
    browser.see("Show it here")
    switch = (By.CSS_SELECTOR, "[data-testid=stCheckbox] label")
    browser.wait("switch", lambda: browser.driver.find_element(*switch)).click()
    frame = browser.inside("iframe")
    browser.wait("report", lambda: "vecspect benchmark" in frame.get_attribute("srcdoc"))
    assert frame.get_attribute("sandbox") == ""
    assert browser.driver.title != "taken"


def test_pages_are_reached_by_the_menu_and_fit_a_narrow_screen(browser: Browser) -> None:
    browser.driver.set_window_size(420, 900)
    for page in ("", "batch", "library", "calibration", "reports", "system"):
        browser.open(f"/{page}?category=grid")
        browser.wait("title", lambda: browser.driver.find_element(By.TAG_NAME, "h1").text)
        wide = browser.driver.execute_script(
            "const main = document.querySelector('[data-testid=stMain]');"
            "return main.scrollWidth - main.clientWidth;"
        )
        assert wide <= 1, f"/{page} is {wide} pixels too wide"


def test_password_is_asked_before_any_page(
    app_settings: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("VECSPECT_UI_PASSWORD", "open sesame")
    browser: Browser = request.getfixturevalue("browser")
    for page in ("", "library", "system"):
        browser.open(f"/{page}?category=grid")
        browser.see("Password")
        assert "memory bank" not in browser.text()
        assert "Store" not in browser.text()
    field = browser.driver.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys("wrong", Keys.ENTER)
    browser.see("That is not the password")
    field = browser.driver.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys("open sesame", Keys.ENTER)
    browser.see("Store")
