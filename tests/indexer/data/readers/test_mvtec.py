from __future__ import annotations

from pathlib import Path

import pytest

from tests.indexer.data.layouts import MVTEC, MVTEC_ROWS, plant, read, refusal


def test_mvtec_folder_is_read_with_masks_paired_by_name(tmp_path: Path) -> None:
    assert read(plant(tmp_path, MVTEC)) == MVTEC_ROWS


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
