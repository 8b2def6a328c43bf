"""Reads data sets on disk into image records, whatever their layout."""

from __future__ import annotations

from pathlib import Path

from indexer.data.image_records import DatasetError, ImageRecord, LayoutError
from indexer.data.readers.base import Reader
from indexer.data.readers.folders import IMAGE_FOLDER, LABEL_FOLDERS
from indexer.data.readers.mvtec import MVTEC_FOLDER
from indexer.data.readers.tables import CSV_TABLE

READERS: tuple[Reader, ...] = (CSV_TABLE, MVTEC_FOLDER, LABEL_FOLDERS, IMAGE_FOLDER)
"""Readers in the order in which they are tried; the first that accepts a path reads it."""


def read_dataset(path: Path | str, *, need_normal: bool = True) -> list[ImageRecord]:
    """List the images of a CSV file, an MVTec folder, a folder of label folders or of images.

    Layouts are tried in the order of `READERS`. Hidden files and files that are not images are left
    out.

    Args:
        path: the folder or CSV file.
        need_normal: refuse label folders if none of them holds normal images.

    Returns:
        At least one record, in an order that depends only on names: train, then test, each by path.

    Raises:
        DatasetError: the path has none of these layouts.

    """
    path = Path(path)
    try:
        records = _read(path, need_normal)
    except LayoutError as error:
        raise DatasetError(f"{error}. {_layouts()}.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    return sorted(records, key=lambda record: (record.split != "train", record.path.as_posix()))


def _read(path: Path, need_normal: bool) -> list[ImageRecord]:
    if not path.exists():
        raise LayoutError(f"there is nothing at {path}")
    reader = next((reader for reader in READERS if reader.accepts(path)), None)
    if reader is None:
        raise LayoutError(f"{path} is neither a folder nor a CSV file")
    records = list(reader.read(path))
    no_normal = all(record.label != "normal" for record in records)
    if need_normal and no_normal and reader.without_normal:
        raise reader.without_normal(path)
    return records


def _layouts() -> str:
    *others, last = (reader.layout for reader in READERS)
    return f"Expected one of these layouts: {'; '.join(others)}; or {last}"
