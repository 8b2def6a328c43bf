from __future__ import annotations

from pathlib import Path

import pytest

from backbones.pipeline import Skipped
from ui.cli.console import note_skipped, progress_bars, table


def test_text_stands_to_the_left_and_numbers_to_the_right() -> None:
    text = table(["name", "count", "share"], [["a", "7", "5.0 %"], ["long name", "1,234", "-1"]])
    assert text.splitlines() == [
        "name       count  share",
        "---------  -----  -----",
        "a              7  5.0 %",
        "long name  1,234     -1",
    ]


def test_column_that_holds_one_word_is_text() -> None:
    assert table(["size"], [["10"], ["–"], [""]]).split("\n")[2:] == ["10", "–", ""]  # noqa: RUF001


def test_missing_numbers_leave_a_column_of_numbers_as_it_is() -> None:
    assert table(["size"], [["10"], [""]]).split("\n")[2:] == ["  10", ""]


def test_table_without_rows_is_its_heads() -> None:
    assert table(["name", "n"], []) == "name  n\n----  -"


def test_no_line_ends_in_blanks() -> None:
    lines = table(["a", "b"], [["x", ""], ["xxxxxx", "y"]]).splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(["a", "b"], [["only one"]])


def test_notes_go_to_stderr_and_no_bar_is_drawn_where_nobody_looks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    note_skipped(Skipped(Path("a.png"), "it is empty"))
    with progress_bars() as on_progress:
        on_progress("scoring", 1, 2)
    assert capsys.readouterr() == ("", "skipped a.png: it is empty\n")
