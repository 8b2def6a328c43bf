"""What stands on every page: the last change with its undo, and whether verdicts hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from indexer.records.drift_window import DriftWindow, Inspected
from indexer.update.labels import label_images
from tests.ui.app.reading import GRID, button, session_of_process, texts

OpenPage = Callable[..., AppTest]


def name_one(number: int, field: str) -> None:
    """What another person does in a tab of their own."""
    session = session_of_process()
    image = sorted(session.library(GRID))[number]
    session.change(GRID, label_images, [image], backbone=None, fields={"line": field})


def changed_by_this_tab(open_page: OpenPage) -> AppTest:
    open_page("library", category="grid")
    library = session_of_process().library(GRID)
    normal = next(key for key, image in library.items() if image.split == "bank")
    page = open_page("library", category="grid", image=normal)
    button(page, "Quarantine").click().run()
    assert session_of_process().entry(GRID).revision == 2
    return page


def test_undo_is_refused_in_words_once_another_person_changed_the_category(
    open_page: OpenPage,
) -> None:
    page = changed_by_this_tab(open_page)
    name_one(0, "3")
    button(page, "Undo revision 2 of grid").click().run()
    assert not page.exception, page.exception
    assert "Revision 2 of grid was not undone" in texts(page)
    assert "line=3" in texts(page), "it does not say what the other person did"
    now = session_of_process().entry(GRID)
    assert (now.revision, "line=3" in now.action) == (3, True)
    assert not [b for b in page.button if b.label.startswith("Undo")]


def test_undo_stands_on_the_pages_of_its_category_alone(open_page: OpenPage) -> None:
    page = changed_by_this_tab(open_page)
    page.session_state["last change of this tab"] = of_another_category(page)
    page.run()
    assert not [b for b in page.button if b.label.startswith("Undo")]


def of_another_category(page: AppTest) -> Any:
    change = page.session_state["last change of this tab"]
    return replace(change, entry=replace(change.entry, category="wood"))


@pytest.mark.parametrize(
    "name", ["inspect", "batch", "library", "calibration", "reports", "system"]
)
def test_drift_alarm_stands_on_every_page(open_page: OpenPage, name: str) -> None:
    open_page("system")
    session = session_of_process()
    window = DriftWindow(session.category(GRID))
    entry = session.entry(GRID)
    normal = next(i for i in session.library(GRID).values() if i.split == "test")
    prediction = session.inspect(GRID, Path(normal.path))
    for number in range(60):
        brighter = prediction.quality * (2 + number)
        window.record(Inspected("00" * 32, entry.revision, prediction.score, 0.2, "ok", brighter))
    st.cache_data.clear()  # as if the quarter of a minute had passed
    said = texts(open_page(name, category="grid", backbone="compact"))
    assert "Parts of grid have changed" in said or "The parts have changed" in said


@pytest.mark.parametrize("name", ["inspect", "batch", "library", "reports", "system"])
def test_few_calibration_images_are_said_with_what_one_percent_requires(
    open_page: OpenPage, name: str
) -> None:
    n = session_calibration_images(open_page)
    said = texts(open_page(name, category="grid", backbone="compact"))
    assert f"1 % requires 99 calibration images, it has {n}" in said


def session_calibration_images(open_page: OpenPage) -> int:
    open_page("system")
    return session_of_process().entry(GRID).counts["calibration_images"]


def test_a_change_is_said_in_a_corner_wherever_the_page_is_scrolled(open_page: OpenPage) -> None:
    page = changed_by_this_tab(open_page)
    assert ["Revision 2 of grid" in toast.value for toast in page.toast] == [True]


def test_an_action_that_fails_says_so_in_a_corner(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_page("library", category="grid")
    library = session_of_process().library(GRID)
    normal = next(key for key, image in library.items() if image.split == "bank")
    page = open_page("library", category="grid", image=normal)

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ui.app.components.library.quarantine_image", full)
    button(page, "Quarantine").click().run()
    assert ["No space left" in toast.value for toast in page.toast] == [True]
    assert "No space left" in texts(page)
