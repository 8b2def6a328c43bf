"""Learning a category in the app, from an empty machine to the first verdict."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from streamlit.testing.v1 import AppTest

from tests.ui.app.driving import CHROMIUM, DRIVER, Browser, browsing, serving
from tests.ui.app.reading import button, texts
from ui.app.session import app_state

OpenPage = Callable[..., AppTest]


def field(page: AppTest, label: str) -> Any:
    return next(f for f in page.text_input if f.label == label)


def box(page: AppTest, label: str) -> Any:
    return next(f for f in page.selectbox if f.label == label)


@pytest.fixture
def empty(app_settings: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app without a store; the folder it runs in."""
    monkeypatch.setenv("VECSPECT_STORE", "store of mine")
    return app_settings


@pytest.fixture
def browser(empty: Path) -> Iterator[Browser]:
    with serving(empty, {}) as address, browsing(address) as opened:
        yield opened


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium")
def test_the_first_product_is_learnt_on_a_machine_without_a_store(
    empty: Path, browser: Browser, dataset: Path
) -> None:
    browser.open("/")
    browser.click("Learn your first product")
    browser.see("Name of the product")
    assert (empty / "store of mine").is_dir()
    for label, typed in (("Name of the product", "wire"), ("Folder", str(dataset))):
        found = browser.wait(
            label,
            partial(browser.driver.find_element, By.CSS_SELECTOR, f"input[aria-label='{label}']"),
        )
        found.send_keys(typed, Keys.ENTER)
    browser.see("Found: 16 normal to learn, 10 test, 6 masks")
    browser.see("16 normal images support no useful level")
    browser.click("Learn")
    browser.see("wire is learnt: 13 images in the memory bank, 3 calibrate")
    browser.click("Inspect a part")
    browser.see("Drop one or many images")
    assert "category=wire" in browser.driver.current_url


def test_a_folder_is_walked_to_from_the_image_roots(open_page: OpenPage, dataset: Path) -> None:
    page = open_page("system")
    box(page, "Folders to begin with").set_value(dataset).run()
    assert field(page, "Folder").value == str(dataset)
    assert "Found: 16 normal to learn, 10 test, 6 masks" in texts(page).replace("*", "")
    inside = next(b for b in page.selectbox if b.label.startswith("Folders in"))
    inside.set_value(dataset / "train").run()
    assert field(page, "Folder").value == str(dataset / "train")
    button(page, "Up").click().run()
    assert field(page, "Folder").value == str(dataset)


@pytest.mark.parametrize("elsewhere", ["/etc", "/no/such/folder", "/"])
def test_a_folder_elsewhere_is_answered_alike_whether_it_is_there_or_not(
    open_page: OpenPage, elsewhere: str
) -> None:
    page = open_page("system")
    field(page, "Folder").set_value(elsewhere).run()
    assert "There is no such folder below" in texts(page)
    assert not [b for b in page.selectbox if b.label.startswith("Folders in")]


def test_a_folder_that_is_no_data_set_says_what_is_wrong_with_it(
    open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    page = open_page("system")
    field(page, "Folder").set_value(str(tmp_path / "nothing")).run()
    assert "holds no images" in texts(page)
    assert not [b for b in page.button if b.label == "Learn"]


def test_few_normal_images_are_warned_of_and_enough_are_not(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    shutil.copytree(dataset / "train" / "good", few)
    page = open_page("system")
    field(page, "Folder").set_value(str(few)).run()
    assert "16 normal images support no useful level: 3 of them calibrate" in texts(page)
    assert "1% requires about 495" in texts(page)
    for number, image in enumerate(sorted(few.iterdir())[:4]):
        shutil.copy(image, tmp_path / "few" / f"more{number}.png")
    more = shutil.copytree(few, tmp_path / "more")
    field(page, "Folder").set_value(str(more)).run()
    assert "Found: 20 normal" in texts(page).replace("*", "")
    assert "no useful level" not in texts(page)


def test_a_name_that_no_category_can_have_is_refused_before_learning(
    open_page: OpenPage, dataset: Path
) -> None:
    page = open_page("system")
    field(page, "Name of the product").set_value("a/b")
    field(page, "Folder").set_value(str(dataset)).run()
    assert "'a/b' is not a category name" in texts(page)
    assert not [b for b in page.button if b.label == "Learn"]


def test_learning_that_fails_says_so_beside_the_form(
    open_page: OpenPage, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ui.app.components.learning.build_index", full)
    page = open_page("system")
    field(page, "Name of the product").set_value("wire")
    field(page, "Folder").set_value(str(dataset)).run()
    button(page, "Learn").click().run()
    if job := app_state().jobs.get("learning"):
        job.wait(20)
        page.run()
    assert "wire was not learnt. No space left on device" in texts(page)
    assert "No space left" in page.toast[0].value
    assert field(page, "Folder").value == str(dataset)
