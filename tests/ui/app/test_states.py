"""The pages for looking back, in the states that a click leads to: read, named and in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.eval.benchmark.test_report import benchmark, report
from tests.ui.app.accessibility import faults
from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"
)
CHART = "[role=graphics-document]"


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(shared_app: tuple[str, Path], request: pytest.FixtureRequest) -> Iterator[Browser]:
    with browsing(shared_app[0], width=1280) as opened:
        opened.theme(request.param)
        yield opened


def chart_names(browser: Browser) -> list[str]:
    charts = browser.driver.find_elements(By.CSS_SELECTOR, CHART)
    return [str(chart.get_attribute("aria-label")) for chart in charts]


def test_the_map_has_a_name_and_its_text_can_be_read(browser: Browser) -> None:
    browser.open("/library?category=grid&view=Map")
    browser.wait("map", lambda: chart_names(browser))
    browser.settled()
    assert chart_names(browser)[0].startswith("Map of 26 images: ")
    assert faults(browser) == []


@pytest.mark.parametrize("view", ["Unnamed defects", "Add"])
def test_another_view_of_the_library_can_be_read(browser: Browser, view: str) -> None:
    browser.open(f"/library?category=grid&view={view}")
    browser.see("grid rejects up to")
    browser.settled()
    assert faults(browser) == []


def test_an_image_of_the_library_has_a_name_in_its_dialog(browser: Browser) -> None:
    browser.open("/library?category=grid&label=defective")
    browser.see("6 images, page 1 of 1")
    browser.inside(".card button").click()
    browser.see("Library image")
    browser.settled()
    shown = browser.driver.find_element(By.CSS_SELECTOR, "[role=dialog] img")
    assert ".png" in str(shown.get_attribute("alt"))
    assert faults(browser) == []


def test_moved_levels_can_be_read_and_their_histograms_have_a_name(browser: Browser) -> None:
    browser.open("/calibration?category=grid")
    browser.wait("histograms", lambda: chart_names(browser))
    find = (By.CSS_SELECTOR, "[data-testid=stSlider] input")
    browser.wait("slider", lambda: browser.driver.find_element(*find)).send_keys(Keys.END)
    browser.see("Verdicts that would change")
    browser.settled()
    assert "normal, calibration" in chart_names(browser)[0]
    assert "reject above, current" in chart_names(browser)[0]
    assert faults(browser) == []


def test_benchmarks_side_by_side_can_be_read_and_their_curves_have_names(
    browser: Browser, shared_app: tuple[str, Path]
) -> None:
    folders = [shared_app[1] / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        result = benchmark(report(coreset=0.1 if folder.name == "old" else 0.01))
        (folder / "benchmark.json").write_text(json.dumps(result.to_dict()))
    browser.open(f"/reports?runs={folders[0]}|{folders[1]}")
    browser.see("Side by side")
    browser.wait("curves", lambda: len(chart_names(browser)) == 2)
    browser.settled()
    assert all("old" in name and "new" in name for name in chart_names(browser))
    assert faults(browser) == []
