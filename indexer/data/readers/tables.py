"""CSV files with one line per image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from indexer.data.image_records import DatasetError, ImageRecord, is_normal
from indexer.data.readers.base import Reader

COLUMNS = ("path", "label", "defect_type", "split", "mask")


def accepts(path: Path) -> bool:
    """True if the file is named like a CSV file."""
    return path.suffix.lower() == ".csv" and not path.is_dir()


def read(path: Path) -> list[ImageRecord]:
    """Records of the lines; paths are relative to the folder of the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(_csv_records(path, stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"expected a CSV file in UTF-8 at {path}, got something else ({error}); "
            "save it as CSV UTF-8"
        ) from error


def _csv_records(path: Path, lines: Iterable[str]) -> Iterator[ImageRecord]:
    reader = csv.DictReader(lines, restval="")
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or "path" not in columns:
        raise DatasetError(
            f"expected a first line with the columns {','.join(COLUMNS)} (only path is "
            f"required, commas between them) in {path}, got {','.join(columns) or 'none'}; "
            + (f"unknown: {', '.join(unknown)}" if unknown else "add the column path")
        )
    seen: dict[Path, int] = {}
    for row in reader:
        try:
            record = _csv_record(path.parent, row)
            if record.path in seen:
                raise ValueError(f"{record.path} appeared before, on line {seen[record.path]}")
        except ValueError as error:
            raise DatasetError(f"line {reader.line_num} of {path}: {error}") from error
        seen[record.path] = reader.line_num
        yield record
    if not seen:
        raise DatasetError(f"expected a line per image in {path}, got only the first line")


def _csv_record(folder: Path, row: dict[str, str]) -> ImageRecord:
    """Record of one row; the ValueError for an invalid row does not name its place."""
    if None in row:
        raise ValueError("more fields than columns; put text with commas in quotes")
    fields = {name: value.strip() for name, value in row.items()}
    if not fields["path"]:
        raise ValueError("expected an image path, got none")
    label, defect_type = fields.get("label", ""), fields.get("defect_type", "")
    normal = not label or is_normal(label)
    if not normal and label.lower() != "defective":
        raise ValueError(f"expected label normal, good, ok or defective, got '{label}'")
    if normal and is_normal(defect_type):
        defect_type = ""
    split = fields.get("split", "").lower() or ("train" if normal else "test")
    if split not in ("train", "test"):
        raise ValueError(f"expected split train or test, got '{split}'")
    return ImageRecord(
        path=folder / fields["path"],
        label="normal" if normal else "defective",
        defect_type=defect_type or ("" if normal else "defect"),
        split="train" if split == "train" else "test",
        mask=folder / fields["mask"] if fields.get("mask") else None,
    )


CSV_TABLE = Reader(name="csv", layout="a CSV file with a column 'path'", accepts=accepts, read=read)
