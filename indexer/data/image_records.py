"""Records of the images of a data set; images are only listed here, never opened."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backbones.decode import IMAGE_SUFFIXES
from backbones.errors import VecspectError

Label = Literal["normal", "defective"]
Split = Literal["train", "test"]

NORMAL_NAMES: frozenset[str] = frozenset({"good", "normal", "ok"})
"""Folder names and CSV labels, in any case, that mark normal images."""

SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES))
"""Image suffixes as listed in error messages."""


class DatasetError(VecspectError):
    """Raised when a data set has a layout that cannot be read."""


class LayoutError(DatasetError):
    """Raised when a path has none of the layouts; `read_dataset` adds which ones there are."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a data set.

    Attributes:
        path: the image file, not opened yet; it may be missing or damaged.
        label: label given by a person.
        defect_type: type of the defect; empty only for a normal image.
        split: ``train`` (normal images only) or ``test``.
        mask: image of the defective pixels, if there is one.
        group: images of one group, such as one product part, are never divided between memory bank
            and calibration; if empty, the image is a group of its own.

    """

    path: Path
    label: Label
    defect_type: str
    split: Split
    mask: Path | None
    group: str = ""

    def __post_init__(self) -> None:
        if self.label == "normal" and (self.defect_type or self.mask):
            raise ValueError(
                "a normal image has neither defect type nor mask, "
                f"got {self.defect_type!r} and {self.mask}"
            )
        if self.label == "defective" and not self.defect_type:
            raise ValueError("a defective image needs a defect type, got none")
        if self.label == "defective" and self.split == "train":
            raise ValueError("a defective image belongs to split 'test', got 'train'")


def normal_images(records: Iterable[ImageRecord]) -> list[Path]:
    """Files from which a category is learnt."""
    return [record.path for record in records if record.split == "train"]


def expand_paths(patterns: Sequence[str]) -> list[Path]:
    """Turn files, folders and globs (``**`` too) into image paths, in order, without duplicates.

    A folder yields the images below it and a glob those that it matches, both sorted. A file named
    in full is kept whatever its suffix, even if it is missing: its reader reports that.

    Raises:
        DatasetError: a folder or glob without any image.

    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        try:
            paths = _expand(pattern)
        except OSError as error:
            raise DatasetError(f"{pattern} cannot be read: {error.strerror}") from error
        for path in paths:
            found.setdefault(path.absolute(), path)
    return list(found.values())


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern)
    if not path.is_dir() and (path.exists() or not glob.has_magic(pattern)):
        return [path]
    # Path.glob takes no absolute pattern and shows hidden files.
    matches = [pattern] if path.is_dir() else glob.glob(pattern, recursive=True)  # noqa: PTH207
    images = [image for match in sorted(map(Path, matches)) for image in images_at(match)]
    if not images:
        raise DatasetError(
            f"expected images at {pattern}, got none; give files, a folder or a pattern of "
            f"{SUFFIXES}"
        )
    return images


def record_of(path: Path, defect_type: str, split: Split, mask: Path | None = None) -> ImageRecord:
    """Record of an image, which is normal if ``defect_type`` is empty."""
    return ImageRecord(path, "defective" if defect_type else "normal", defect_type, split, mask)


def is_normal(name: str) -> bool:
    """True if a folder name or CSV label marks normal images."""
    return name.lower() in NORMAL_NAMES


def is_image(path: Path) -> bool:
    """True if a file is an image, judged by its suffix.

    A broken link counts too, so that its reader reports it.
    """
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()


def visible(folder: Path) -> list[Path]:
    """Visible entries of a folder, sorted; none if the folder does not exist."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in entries if not path.name.startswith("."))


def subfolders(folder: Path) -> list[Path]:
    """Visible sub-folders of a folder, sorted."""
    return [path for path in visible(folder) if path.is_dir()]


def images_at(path: Path) -> list[Path]:
    """The image itself, or the images in a folder and its visible sub-folders, sorted.

    Links to folders are not followed below the first level, since they may form circles.
    """
    if not path.is_dir():
        return [path] if is_image(path) else []
    below = (entry for entry in visible(path) if not (entry.is_symlink() and entry.is_dir()))
    return [image for entry in below for image in images_at(entry)]
