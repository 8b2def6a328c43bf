"""Words and paths as the pages write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ui.app.text import not_served, plain, short_path


def test_marks_of_markdown_and_html_are_shown_as_they_are() -> None:
    assert plain("**a** <b>\n$x$ [l](u)") == r"\*\*a\*\* \<b\> \$x\$ \[l\]\(u\)"


def test_path_below_the_working_folder_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "a" / "b.png") == "a/b.png"
    assert short_path("/elsewhere/b.png") == "/elsewhere/b.png"


def test_file_that_is_not_shown_is_told_apart_from_one_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert "vecspect ui" in not_served(str(tmp_path / "a.png")).replace("\\", "")
    assert "no such file any more" in not_served(str(tmp_path / "b.png"))
