"""Every page says in its own words what went wrong, and goes on when it can."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.app.reading import button, session_of_process, texts

OpenPage = Callable[..., AppTest]
PAGES = ["inspect", "batch", "library", "calibration", "reports", "system"]


@pytest.mark.parametrize("name", PAGES)
def test_a_defect_of_ours_is_a_line_and_its_traceback_goes_to_stderr(
    open_page: OpenPage,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("what nobody foresaw")

    with monkeypatch.context() as patched:
        patched.setattr(f"ui.app.views.{name}.show", broken)
        page = open_page(name, category="grid")
    assert "a defect of vecspect itself (ZeroDivisionError: what nobody foresaw)" in texts(page)
    assert "Traceback" in capsys.readouterr().err
    button(page, "Try again").click().run()
    assert "defect of vecspect" not in texts(page)


def test_a_part_of_a_page_that_reruns_by_itself_explains_its_faults_too(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("what nobody foresaw")

    monkeypatch.setattr("ui.app.components.levels._sliders", broken)
    page = open_page("calibration", category="grid")
    assert "a defect of vecspect itself (ZeroDivisionError: what nobody foresaw)" in texts(page)


@pytest.mark.parametrize("name", PAGES)
def test_a_store_removed_while_open_is_said(open_page: OpenPage, name: str) -> None:
    page = open_page(name, category="grid")
    shutil.rmtree(session_of_process().settings.store)
    page.run()
    assert not page.exception
    assert "No store is open" in texts(page)
    assert "no store at" in texts(page)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("value", ["\0", "x" * 5000, "/" + "x" * 5000, "../../etc/passwd"])
def test_nonsense_in_the_address_is_answered(open_page: OpenPage, name: str, value: str) -> None:
    own = ("image", "batch", "page", "patch", "alike", "show", "report")
    for fields in ({"category": value, "backbone": value}, dict.fromkeys(own, value)):
        page = open_page(name, **{"category": "grid", **fields})
        assert "This page " not in texts(page)


def test_uploads_that_cannot_be_kept_are_said(
    open_page: OpenPage, app_settings: Path, dataset: Path
) -> None:
    (app_settings / "ui_data").write_text("a file where the folder should be")
    page = open_page("batch", category="grid")
    parts = str(dataset / "test")
    next(t for t in page.text_input if t.key == "folder batch").set_value(parts).run()
    next(b for b in page.button if b.label.startswith("Score")).click().run()
    assert not page.exception
    assert "ui_data" in texts(page)
    assert "This page " not in texts(page)
