from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.data.image_records import DatasetError, ImageRecord, expand_paths, read_dataset

Row = tuple[str, str, str, str, str]

MVTEC = (
    "train/good/000.png",
    "train/good/001.PNG",
    "test/good/000.png",
    "test/crack/000.jpg",
    "test/crack/001.png",
    "test/stain/000.png",
    "ground_truth/crack/000_mask.png",
    "ground_truth/stain/000.bmp",
    "license.txt",
)
MVTEC_ROWS = [
    ("train/good/000.png", "normal", "", "train", ""),
    ("train/good/001.PNG", "normal", "", "train", ""),
    ("test/crack/000.jpg", "defective", "crack", "test", "ground_truth/crack/000_mask.png"),
    ("test/crack/001.png", "defective", "crack", "test", ""),
    ("test/good/000.png", "normal", "", "test", ""),
    ("test/stain/000.png", "defective", "stain", "test", "ground_truth/stain/000.bmp"),
]


def plant(root: Path, names: Iterable[str]) -> Path:
    """Files that are no images at all: nothing here may open them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"damaged")
    return root


def rows(root: Path, records: list[ImageRecord]) -> list[Row]:
    return [
        (
            record.path.relative_to(root).as_posix(),
            record.label,
            record.defect_type,
            record.split,
            record.mask.relative_to(root).as_posix() if record.mask else "",
        )
        for record in records
    ]


def read(root: Path) -> list[Row]:
    return rows(root, read_dataset(root))


def read_csv(folder: Path, text: str, encoding: str = "utf-8") -> list[Row]:
    (folder / "set.csv").write_text(text, encoding=encoding)
    return rows(folder, read_dataset(folder / "set.csv"))


def refusal(path: Path | str) -> str:
    with pytest.raises(DatasetError) as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def csv_refusal(folder: Path, text: str) -> str:
    (folder / "set.csv").write_text(text)
    return refusal(folder / "set.csv")


# --- records


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


# --- MVTec folders


def test_mvtec_folder_is_read_with_masks_paired_by_name(tmp_path: Path) -> None:
    assert read(plant(tmp_path, MVTEC)) == MVTEC_ROWS


def test_path_may_be_a_string(tmp_path: Path) -> None:
    assert read_dataset(str(plant(tmp_path, MVTEC))) == read_dataset(tmp_path)


def test_mask_goes_with_its_name_when_earlier_images_have_none(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "test/dent/0.png", "test/dent/1.png"])
    plant(tmp_path, ["ground_truth/dent/1_mask.png"])
    assert [row[4] for row in read(tmp_path)] == ["", "", "ground_truth/dent/1_mask.png"]


def test_mask_suffix_wins_over_the_plain_name(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "test/dent/0.png"])
    plant(tmp_path, ["ground_truth/dent/0.png", "ground_truth/dent/0_mask.png"])
    assert read(tmp_path)[1][4] == "ground_truth/dent/0_mask.png"


def test_mask_is_found_when_accents_are_encoded_differently(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "test/dent/caf\u00e9.png"])
    plant(tmp_path, ["ground_truth/dent/cafe\u0301_mask.png"])
    assert read(tmp_path)[1][4]


def test_masks_that_all_miss_their_images_are_refused_with_an_example(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "test/dent/a.png", "ground_truth/dent/000_mask.png"])
    message = refusal(tmp_path)
    assert "got 000_mask.png, expected a_mask.png" in message


def test_masks_of_a_type_without_images_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "ground_truth/dent/000_mask.png"])
    assert f"expected an image in {tmp_path / 'test' / 'dent'}" in refusal(tmp_path)


def test_masks_of_normal_images_are_left_out(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "test/good/1.png", "ground_truth/good/1_mask.png"])
    assert [row[4] for row in read(tmp_path)] == ["", ""]


def test_images_deeper_in_a_type_are_paired_as_well(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/mon/0.png", "test/dent/mon/0.png", "test/dent/tue/0.png"])
    plant(tmp_path, ["ground_truth/dent/tue/0_mask.png"])
    assert [row[4] for row in read(tmp_path)] == ["", "", "ground_truth/dent/tue/0_mask.png"]


def test_train_alone_is_enough(tmp_path: Path) -> None:
    assert len(read(plant(tmp_path, ["train/good/0.png"]))) == 1


def test_mvtec_folder_without_normal_training_images_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/notes.txt", "test/dent/0.png"])
    assert f"expected normal images in {tmp_path / 'train' / 'good'}" in refusal(tmp_path)


def test_defective_training_images_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["train/good/0.png", "train/dent/0.png"])
    assert "got the folder dent; move it to 'test'" in refusal(tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_image_outside_a_type_folder_is_refused(tmp_path: Path, split: str) -> None:
    plant(tmp_path, ["train/good/0.png", f"{split}/loose.png"])
    assert "got the image loose.png" in refusal(tmp_path)


def test_folder_of_categories_is_refused_with_the_one_to_give(tmp_path: Path) -> None:
    plant(tmp_path, ["bottle/train/good/0.png", "cable/train/good/0.png"])
    assert refusal(tmp_path).endswith(f"give one of them, such as {tmp_path / 'bottle'}")


# --- label folders


@pytest.mark.parametrize("normal", ["good", "normal", "OK", "Good"])
def test_label_folders(tmp_path: Path, normal: str) -> None:
    plant(tmp_path, ["dent/b.png", "rust/a.JPEG", f"{normal}/z.png", "notes.txt", "empty/x.txt"])
    assert read(tmp_path) == [
        (f"{normal}/z.png", "normal", "", "train", ""),
        ("dent/b.png", "defective", "dent", "test", ""),
        ("rust/a.JPEG", "defective", "rust", "test", ""),
    ]


def test_label_folders_without_a_normal_one_are_refused(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, ["dent/a.png", "fine/b.png"]))
    assert "got dent, fine; call one of them good, normal, ok" in message


def test_images_beside_label_folders_are_refused(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, ["good/a.png", "b.png"]))
    assert "(b.png)" in message
    assert "(good)" in message


# --- folder of images


def test_plain_folder_holds_normal_training_images(tmp_path: Path) -> None:
    plant(
        tmp_path, ["b.png", "a.TIF", "Ünïcode 零件.jpg", ".hidden.png", "notes.txt", ".git/c.png"]
    )
    assert read(tmp_path) == [
        ("a.TIF", "normal", "", "train", ""),
        ("b.png", "normal", "", "train", ""),
        ("Ünïcode 零件.jpg", "normal", "", "train", ""),
    ]


def test_linked_files_are_listed_and_links_in_circles_end(tmp_path: Path) -> None:
    plant(tmp_path, ["store/a.png", "set/good/b.png"])
    (tmp_path / "set/good/a.png").symlink_to(tmp_path / "store/a.png")
    (tmp_path / "set/good/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "set/good/again").symlink_to(tmp_path / "set")
    names = [record.path.name for record in read_dataset(tmp_path / "set")]
    assert names == ["a.png", "b.png", "gone.png"], "a dead link is for the reader to report"


def test_linked_label_folder_is_followed(tmp_path: Path) -> None:
    plant(tmp_path, ["store/a.png"])
    (tmp_path / "set").mkdir()
    (tmp_path / "set/good").symlink_to(tmp_path / "store")
    assert len(read_dataset(tmp_path / "set")) == 1


# --- nothing readable


def test_refusals_name_the_four_layouts(tmp_path: Path) -> None:
    plant(tmp_path, ["one/a.png", "two/notes.txt"])
    for path in (tmp_path / "none", tmp_path / "one/a.png", tmp_path / "two"):
        message = refusal(path)
        assert str(path) in message
        for word in ("CSV", "MVTec", "sub-folder per label", "folder of normal images"):
            assert word in message


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "holds no images" in refusal(tmp_path)


# --- CSV


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
        ("first.png,good,,,", "came before, on line 2"),
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


# --- order


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


@settings(deadline=None, max_examples=30)
@given(st.permutations(["b.png,ok,train", "a.png,,test", "c.png,defective,", "d/a.png,,"]))
def test_order_of_csv_lines_never_shows(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read_csv(Path(folder), "path,label,split\n" + "\n".join(lines))
    assert [row[0] for row in found] == ["b.png", "d/a.png", "a.png", "c.png"]


# --- expand_paths


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
