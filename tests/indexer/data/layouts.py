"""Data sets of files that are no images, and what is read of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError, ImageRecord

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
