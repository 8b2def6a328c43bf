from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from backbones.pipeline import Skipped
from ui.cli.console import columns_table, note_skipped, progress_bars, say_found, table


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


@dataclass(frozen=True)
class Found:
    score: float
    path: Path | str


FOUND = (Found(1.23456, "a.png"), Found(20.0, "b.png"))


def test_columns_are_formats_of_attributes_or_of_keys() -> None:
    text = columns_table({"score": "{.score:.1f}", "path": "{.path}"}, FOUND)
    assert text.splitlines()[2:] == ["  1.2  a.png", " 20.0  b.png"]
    assert columns_table({"n": "{[count]}"}, [{"count": 7}]) == "n\n-\n7"


def test_what_was_found_is_a_table_or_a_json_object_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_found(FOUND, {"path": "{.path}"}, as_json=True)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [asdict(found) for found in FOUND]
    say_found(FOUND, {"path": "{.path}"}, as_json=False)
    assert capsys.readouterr().out == "path\n-----\na.png\nb.png\n"


def test_bar_of_a_stage_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bars() as on_progress:
        on_progress("scoring", 1, 2)
        on_progress("scoring", 2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "scoring" in err
    assert "2/2" in err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 80 columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


def test_piped_table_cuts_nothing_and_draws_no_boxes() -> None:
    path = "folder/" * 60 + "name [red].png"
    text = table(["n", "path"], [["7", path]])
    assert text.splitlines()[2] == f"7  {path}"
    assert text.isascii()


@pytest.mark.usefixtures("terminal")
def test_table_on_a_terminal_fits_it_and_loses_nothing() -> None:
    path, identity = "folder/" * 12 + "name.png", "612f5129-04f8-5ee4-b76a-db9a44a21759"
    lines = table(["distance", "image id", "path"], [["0.5", identity, path]]).splitlines()
    assert max(map(len, lines)) <= 80
    assert identity in lines[2]
    assert "".join(line[48:].strip() for line in lines[2:]) == path


@pytest.mark.usefixtures("terminal")
def test_row_of_many_columns_becomes_lines_on_a_narrow_terminal() -> None:
    heads = [f"column {n}" for n in range(14)]
    text = table(heads, [[f"value {n}" for n in range(14)]] * 2)
    assert text.splitlines()[:2] == ["column 0   value 0", "column 1   value 1"]
    assert text.count("\n\n") == 1
