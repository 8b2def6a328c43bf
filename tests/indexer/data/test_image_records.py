from __future__ import annotations

from pathlib import Path

import pytest

from indexer.data.image_records import DatasetError, ImageRecord, expand_paths, normal_images
from tests.indexer.data.layouts import plant


@pytest.mark.parametrize(
    ("label", "defect_type", "split", "mask", "message"),
    [
        ("normal", "crack", "test", None, "neither defect type nor mask"),
        ("normal", "", "test", Path("m.png"), "neither defect type nor mask"),
        ("defective", "", "test", None, "needs a defect type"),
        ("defective", "crack", "train", None, "belongs to split 'test'"),
    ],
)
def test_contradictory_record_cannot_be_made(
    label: str, defect_type: str, split: str, mask: Path | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ImageRecord(Path("a.png"), label, defect_type, split, mask)  # type: ignore[arg-type]


def test_record_is_a_group_of_its_own_unless_said_otherwise() -> None:
    assert ImageRecord(Path("a.png"), "normal", "", "train", None).group == ""


def test_a_category_is_learnt_from_training_images_alone() -> None:
    train, test = (
        ImageRecord(Path(f"{split}.png"), "normal", "", split, None) for split in ("train", "test")
    )
    defective = ImageRecord(Path("c.png"), "defective", "crack", "test", None)
    assert normal_images([test, train, defective]) == [Path("train.png")]


def expand(root: Path, *patterns: str) -> list[str]:
    paths = expand_paths([str(root / pattern) for pattern in patterns])
    return [path.relative_to(root).as_posix() for path in paths]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    return plant(
        tmp_path,
        ["b.png", "a.png", "c.dat", "sub/d.JPG", "sub/deep/e.png", "sub/.f.png", "x[1].png"],
    )


def test_files_are_kept_in_the_given_order_whatever_their_suffix(shots: Path) -> None:
    assert expand(shots, "c.dat", "b.png", "a.png") == ["c.dat", "b.png", "a.png"]


def test_folder_gives_the_images_below_it_sorted(shots: Path) -> None:
    assert expand(shots, "sub") == ["sub/d.JPG", "sub/deep/e.png"]


def test_glob_gives_images_sorted(shots: Path) -> None:
    assert expand(shots, "[abc].*") == ["a.png", "b.png"]


def test_recursive_glob_gives_each_image_once(shots: Path) -> None:
    assert expand(shots, "**") == ["a.png", "b.png", "sub/d.JPG", "sub/deep/e.png", "x[1].png"]


def test_glob_of_folders_gives_their_images(shots: Path) -> None:
    assert expand(shots, "s*") == ["sub/d.JPG", "sub/deep/e.png"]


def test_duplicates_keep_their_first_place(shots: Path) -> None:
    assert expand(shots, "b.png", "*.png", "b.png") == ["b.png", "a.png", "x[1].png"]


def test_relative_and_absolute_path_of_a_file_are_the_same(
    shots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shots)
    assert expand_paths(["a.png", "./a.png", str(shots / "a.png")]) == [Path("a.png")]


def test_existing_file_with_glob_characters_is_itself(shots: Path) -> None:
    assert expand(shots, "x[1].png") == ["x[1].png"]


def test_missing_file_is_kept_for_its_reader_to_report(shots: Path) -> None:
    assert expand(shots, "none.png") == ["none.png"]


@pytest.mark.parametrize("pattern", ["*.webp", "none/**", "*.dat", "empty"])
def test_folder_or_glob_without_images_is_refused(shots: Path, pattern: str) -> None:
    (shots / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"expected images at .*, got none; give"):
        expand(shots, pattern)


def test_nothing_given_is_nothing_found() -> None:
    assert expand_paths([]) == []
