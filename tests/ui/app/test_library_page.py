"""The Library page: what is shown stays in the address, and actions are where the user is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from streamlit.testing.v1 import AppTest

from backbones.base import Backbone
from backbones.errors import VecspectError
from indexer.calibration.methods import CalibrationSettings
from indexer.catalog.entry import LibraryImage
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing, serving
from tests.ui.app.reading import GRID, button, session_of_process, texts
from ui.app.components.library_filters import ORDERS, Filters
from ui.app.session import Key

OpenPage = Callable[..., AppTest]
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium")
CALIBRATION = CalibrationSettings().calibrate([1.0, 2.0, 3.0])
IMAGE = LibraryImage(
    image_id="1", path="/data/line/a.png", sha256="", label="defective", defect_type="bent",
    split="test", width=1, height=1, score=9.0, group="", fields={"line": "3"},
    added_at="2026-11-02T10:00:00",
)  # fmt: skip


def address(page: AppTest) -> dict[str, str]:
    values = page.query_params.items()
    return {name: value if isinstance(value, str) else value[-1] for name, value in values}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        (Filters(), True),
        (Filters(label="normal"), False),
        (Filters(kind="bent"), True),
        (Filters(kind="unnamed"), False),
        (Filters(verdict="reject"), True),
        (Filters(verdict="ok"), False),
        (Filters(text="LINE/A"), True),
        (Filters(text="line=3"), True),
        (Filters(text="line=4"), False),
        (Filters(role="bank"), False),
    ],
)
def test_an_image_passes_the_filters_that_fit_it(filters: Filters, passes: bool) -> None:
    assert filters.passes(IMAGE, CALIBRATION) is passes


def test_images_are_ordered_by_score_and_those_without_come_last() -> None:
    images = [replace(IMAGE, image_id=name, score=score) for name, score in
              (("a", 1.0), ("b", None), ("c", 3.0))]  # fmt: skip
    assert [i.image_id for i in ORDERS["highest score"](images)] == ["c", "a", "b"]
    assert [i.image_id for i in ORDERS["lowest score"](images)] == ["a", "c", "b"]


def test_filters_label_and_sort_come_from_the_address(open_page: OpenPage) -> None:
    page = open_page("library", category="grid", label="defective", sort="highest score")
    library = session_of_process().library(GRID).values()
    assert f"{sum(i.label == 'defective' for i in library)} images" in texts(page)
    assert next(b for b in page.selectbox if b.label == "Sort by").value == "highest score"


def test_another_filter_begins_at_the_first_page_and_clear_asks_for_nothing(
    open_page: OpenPage,
) -> None:
    page = open_page("library", category="grid", page="2")
    next(b for b in page.selectbox if b.label == "Label").set_value("normal").run()
    assert "page" not in address(page)
    button(page, "Clear").click().run()
    assert next(b for b in page.selectbox if b.label == "Label").value == "all"


def test_another_category_is_shown_with_the_filters_that_it_has_too(
    open_page: OpenPage, dataset: Path, network: Backbone
) -> None:
    open_page("system")
    store = session_of_process().store
    build_index(read_dataset(dataset / "train"), category="wire", backbone=network, store=store)
    page = open_page("library", category="grid", label="normal", type="bent", page="1")
    page.selectbox[0].set_value(Key("wire", "compact")).run()
    assert not page.exception, page.exception
    assert address(page)["category"] == "wire"
    assert next(b for b in page.selectbox if b.label == "Label").value == "normal"
    assert next(b for b in page.selectbox if b.label == "Defect type").value == "all"


@pytest.mark.parametrize("value", ["", "%00", "no such type", "x" * 5000])
def test_a_filter_that_there_is_not_shows_all_images(open_page: OpenPage, value: str) -> None:
    page = open_page("library", category="grid", type=value, page=value, view=value)
    assert f"{len(session_of_process().library(GRID))} images" in texts(page)


def test_an_action_that_fails_says_so_in_a_toast(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise VecspectError("the store is read only. Open it for writing.")

    open_page("library", category="grid")
    library = session_of_process().library(GRID)
    chosen = next(name for name, image in library.items() if image.split == "test")
    page = open_page("library", category="grid", image=chosen)
    monkeypatch.setattr("ui.app.components.library.remove_images", fail)
    button(page, "Remove").click().run()
    assert "the store is read only" in page.toast[0].value.replace("\\", "")
    assert chosen in session_of_process().library(GRID)


def test_a_removed_image_leaves_the_address(open_page: OpenPage) -> None:
    open_page("library", category="grid")
    library = session_of_process().library(GRID)
    chosen = next(name for name, image in library.items() if image.split == "test")
    page = open_page("library", category="grid", image=chosen)
    button(page, "Remove").click().run()
    assert "image" not in address(page)
    assert ["no such image" in toast.value for toast in page.toast] == [False]


@pytest.fixture
def browser(app_settings: Path) -> Iterator[Browser]:
    with serving(app_settings, {}) as served, browsing(served, width=800, height=500) as opened:
        yield opened


def visible(browser: Browser, css: str) -> bool:
    """Whether the element stands inside the window, whatever the page is scrolled to."""
    box = browser.wait(css, lambda: browser.driver.find_element(By.CSS_SELECTOR, css)).rect
    script = "return arguments[0].getBoundingClientRect().bottom <= window.innerHeight + 1"
    element = browser.driver.find_element(By.CSS_SELECTOR, css)
    return bool(box["height"]) and bool(browser.driver.execute_script(script, element))


def press(browser: Browser, css: str) -> None:
    """Press what lies below the fold, without scrolling to it."""
    browser.driver.execute_script("arguments[0].click()", browser.inside(css))


@needs_chromium
def test_actions_on_ticked_images_and_the_image_opened_stand_where_the_user_is(
    browser: Browser,
) -> None:
    browser.open("/library?category=grid&sort=newest")
    browser.see("page 1 of")
    press(browser, ".card:last-child input")
    browser.see("1 ticked")
    scroll = "document.querySelector('[data-testid=stMain]').scrollTop = arguments[0]"
    browser.driver.execute_script(scroll, 400)
    assert visible(browser, ".st-key-action-bar-ticked")
    press(browser, ".card:last-child button")
    browser.see("Library image")
    assert visible(browser, "[role=dialog] [data-testid=stButton]")
    assert "image=" in browser.driver.current_url
    browser.click("Close")
    browser.gone("Library image")
    assert "image=" not in browser.driver.current_url
    assert "sort=newest" in browser.driver.current_url


@needs_chromium
def test_filters_and_view_stay_in_the_address_and_come_back_with_the_menu(browser: Browser) -> None:
    browser.open("/library?category=grid&label=defective")
    browser.see("6 images, page 1 of 1")
    place = (By.CSS_SELECTOR, "[placeholder='line=3']")
    find = browser.wait("find", lambda: browser.driver.find_element(*place))
    find.send_keys("no such file", Keys.ENTER)
    browser.see("No image matches these filters")
    browser.wait("find in the address", lambda: "find=no" in browser.driver.current_url)
    browser.menu("System")
    browser.see("Collections")
    browser.menu("Library")
    browser.see("No image matches these filters")
    browser.wait("label", lambda: "label=defective" in browser.driver.current_url)
    browser.click("Clear")
    browser.see("26 images, page 1 of 1")
    browser.wait("end of label", lambda: "label=" not in browser.driver.current_url)
    browser.click("Map")
    browser.wait("view in the address", lambda: "view=Map" in browser.driver.current_url)
