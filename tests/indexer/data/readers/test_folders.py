from __future__ import annotations

from pathlib import Path

import pytest

from indexer.data.dataset import read_dataset
from tests.indexer.data.layouts import plant, read, refusal


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


def test_folder_of_categories_is_refused_with_the_one_to_give(tmp_path: Path) -> None:
    plant(tmp_path, ["bottle/train/good/0.png", "cable/train/good/0.png"])
    assert refusal(tmp_path).endswith(f"give one of them, such as {tmp_path / 'bottle'}")


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
