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


def test_whether_a_file_outside_exists_is_not_told(tmp_path: Path) -> None:
    told = []
    for name in ("there.png", "gone.png"):
        (tmp_path / "there.png").touch()
        told.append(not_served(str(tmp_path / name)).replace(name.replace(".", "\\."), ""))
    assert told[0] == told[1]
    assert "vecspect ui" in told[0].replace("\\", "")


def test_name_of_a_file_that_is_not_shown_is_cut() -> None:
    assert len(not_served("x" * 5000)) < 500
