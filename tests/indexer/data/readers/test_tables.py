from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.data.dataset import read_dataset
from tests.indexer.data.layouts import csv_refusal, read_csv, refusal


def test_csv_with_every_column(tmp_path: Path) -> None:
    text = (
        "path,label,defect_type,split,mask\n"
        "b.png,ok,,test,\n"
        'sub/"c".png,defective,crack,test,m/c.png\n'
        '"a, 1.png",GOOD,good,train,\n'
    )
    assert read_csv(tmp_path, text) == [
        ("a, 1.png", "normal", "", "train", ""),
        ("b.png", "normal", "", "test", ""),
        ('sub/"c".png', "defective", "crack", "test", "m/c.png"),
    ]


def test_csv_needs_only_paths(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "path\nb.png\n\na.png\n") == [
        ("a.png", "normal", "", "train", ""),
        ("b.png", "normal", "", "train", ""),
    ]


def test_csv_columns_in_any_order_and_short_lines(tmp_path: Path) -> None:
    assert read_csv(tmp_path, " Label , PATH ,split\ndefective,a.png\n,b.png,\n") == [
        ("b.png", "normal", "", "train", ""),
        ("a.png", "defective", "defect", "test", ""),
    ]


def test_csv_from_a_spreadsheet_with_byte_order_mark(tmp_path: Path) -> None:
    assert len(read_csv(tmp_path, "path\r\nä.png\r\n", encoding="utf-8-sig")) == 1


def test_csv_keeps_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("path\n/data/a.png\n")
    assert read_dataset(tmp_path / "set.csv")[0].path == Path("/data/a.png")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png,broken,,,", "got 'broken'"),
        ("a.png,good,,validation,", "got 'validation'"),
        ("a.png,defective,crack,train,", "belongs to split 'test'"),
        ("a.png,good,crack,,", "neither defect type nor mask"),
        (",good,,,", "expected an image path"),
        ("first.png,good,,,", "appeared before, on line 2"),
        ("a.png,good,,,,,", "more fields than columns"),
    ],
)
def test_csv_line_that_makes_no_sense_is_named(tmp_path: Path, line: str, message: str) -> None:
    text = f"path,label,defect_type,split,mask\nfirst.png,,,,\n{line}\n"
    refused = csv_refusal(tmp_path, text)
    assert f"line 3 of {tmp_path / 'set.csv'}" in refused
    assert message in refused


def test_csv_with_unknown_columns_names_them_and_the_known_ones(tmp_path: Path) -> None:
    message = csv_refusal(tmp_path, "path,lable,kind\na.png,good,x\n")
    assert "unknown: lable, kind" in message
    assert "path,label,defect_type,split,mask" in message


@pytest.mark.parametrize("text", ["label,split\ngood,train\n", "", "a.png\nb.png\n"])
def test_csv_without_path_column_is_refused(tmp_path: Path, text: str) -> None:
    assert "expected a first line with the columns path," in csv_refusal(tmp_path, text)


def test_csv_without_images_is_refused(tmp_path: Path) -> None:
    assert "got only the first line" in csv_refusal(tmp_path, "path,label\n")


def test_file_that_only_pretends_to_be_csv_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00\x9c")
    assert "expected a CSV file in UTF-8" in refusal(tmp_path / "set.csv")


@settings(deadline=None, max_examples=30)
@given(st.permutations(["b.png,ok,train", "a.png,,test", "c.png,defective,", "d/a.png,,"]))
def test_order_of_csv_lines_never_shows(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read_csv(Path(folder), "path,label,split\n" + "\n".join(lines))
    assert [row[0] for row in found] == ["b.png", "d/a.png", "a.png", "c.png"]
