from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.data.dataset import READERS, read_dataset
from tests.indexer.data.layouts import MVTEC, plant, read, refusal


def test_path_may_be_a_string(tmp_path: Path) -> None:
    assert read_dataset(str(plant(tmp_path, MVTEC))) == read_dataset(tmp_path)


def test_refusals_name_the_four_layouts(tmp_path: Path) -> None:
    plant(tmp_path, ["one/a.png", "two/notes.txt"])
    for path in (tmp_path / "none", tmp_path / "one/a.png", tmp_path / "two"):
        message = refusal(path)
        assert str(path) in message
        for word in ("CSV", "MVTec", "sub-folder per label", "folder of normal images"):
            assert word in message


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "holds no images" in refusal(tmp_path)


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.sampled_from(["mvtec", "labels", "plain"]))
def test_order_of_creation_never_shows(shuffler: random.Random, layout: str) -> None:
    names = {
        "mvtec": list(MVTEC),
        "labels": ["ok/b.png", "ok/a.png", "dent/x.png", "dent/sub/y.png", "arch/z.png"],
        "plain": ["b.png", "a.jpg", "B.png", "ä.png", "10.png", "9.png"],
    }[layout]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        expected = read(plant(Path(first), names))
        shuffler.shuffle(names)
        assert read(plant(Path(second), names)) == expected


@pytest.mark.parametrize(
    ("names", "reader"),
    [
        (MVTEC, "mvtec"),
        (["ground_truth/dent/0.png"], "mvtec"),
        (["good/a.png", "dent/b.png"], "labels"),
        (["notes.txt"], "labels"),
        (["a.png", "notes/b.txt"], "images"),
    ],
)
def test_folder_is_read_by_the_first_reader_that_accepts_it(
    tmp_path: Path, names: list[str], reader: str
) -> None:
    plant(tmp_path, names)
    accepting = [one.name for one in READERS if one.accepts(tmp_path)]
    assert accepting[0] == reader


def test_file_is_read_by_the_reader_of_its_kind_alone(tmp_path: Path) -> None:
    plant(tmp_path, ["set.CSV", "set.txt", "folder.csv/a.png"])
    assert [one.name for one in READERS if one.accepts(tmp_path / "set.CSV")] == ["csv"]
    assert not [one.name for one in READERS if one.accepts(tmp_path / "set.txt")]
    assert "csv" not in [one.name for one in READERS if one.accepts(tmp_path / "folder.csv")]


def test_label_folders_need_no_normal_one_where_none_is_asked_for(tmp_path: Path) -> None:
    plant(tmp_path, ["dent/a.png", "fine/b.png"])
    records = read_dataset(tmp_path, need_normal=False)
    assert [record.defect_type for record in records] == ["dent", "fine"]


def test_readers_have_names_of_their_own() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS)
