"""Folders and CSV files to image records; images are listed here, never opened."""

from __future__ import annotations

import csv
import glob
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backbones.decode import IMAGE_SUFFIXES
from backbones.errors import VecspectError

Label = Literal["normal", "defective"]
Split = Literal["train", "test"]

NORMAL_NAMES: frozenset[str] = frozenset({"good", "normal", "ok"})
"""Words, in any case, that mark normal images as folder name or CSV label."""

CSV_COLUMNS = ("path", "label", "defect_type", "split", "mask")

LAYOUTS = (
    "Expected one of four layouts: a CSV file with a column 'path'; an MVTec folder (train/good, "
    "test/TYPE, ground_truth/TYPE); a folder with one sub-folder per label, one of them called "
    f"{' or '.join(sorted(NORMAL_NAMES))}; or a folder of normal images"
)


class DatasetError(VecspectError):
    """A data set is not laid out in a way that can be read."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a data set.

    Attributes:
        path: the image file; it may be missing or damaged, nobody has looked yet.
        label: what a person said about it.
        defect_type: empty for a normal image, otherwise never empty.
        split: ``train`` (normal images only) or ``test``.
        mask: image of the defective pixels, where there is one.

    """

    path: Path
    label: Label
    defect_type: str
    split: Split
    mask: Path | None

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
    """The files a category is learnt from."""
    return [record.path for record in records if record.split == "train"]


def read_dataset(path: Path | str, *, need_normal: bool = True) -> list[ImageRecord]:
    """List the images of a CSV file, an MVTec folder, a folder of label folders or of images.

    Layouts are tried in that order. Hidden files and files that are no images are left out.

    Args:
        path: of the folder or CSV file.
        need_normal: refuse label folders of which none is of normal images.

    Returns:
        at least one record, in an order that depends on names alone: train, then test, each by
        path.

    Raises:
        DatasetError: the path has none of the four layouts.

    """
    path = Path(path)
    try:
        records = _read_folder(path, need_normal) if path.is_dir() else _read_csv(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    return sorted(records, key=lambda record: (record.split != "train", record.path.as_posix()))


def expand_paths(patterns: Sequence[str]) -> list[Path]:
    """Turn files, folders and globs (``**`` too) into image paths, in order, without duplicates.

    A folder yields the images below it, a glob those that it matches, both sorted. A file named
    in full is kept whatever its suffix, even if it is missing: whoever reads it says so.

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
    images = [image for match in sorted(map(Path, matches)) for image in _images_at(match)]
    if not images:
        raise DatasetError(
            f"expected images at {pattern}, got none; give files, a folder or a pattern of "
            f"{_suffixes()}"
        )
    return images


def _read_folder(root: Path, need_normal: bool) -> list[ImageRecord]:
    folders = {folder.name: folder for folder in _subfolders(root)}
    if folders.keys() & {"train", "test", "ground_truth"}:
        return list(_read_mvtec(root))

    loose = [path for path in _visible(root) if _is_image(path)]
    labelled = {name: images for name in folders if (images := _images_at(folders[name]))}
    if loose and labelled:
        raise DatasetError(
            f"{root} holds both images ({loose[0].name}) and sub-folders with images "
            f"({min(labelled)}), so their labels are unclear; move the images into a sub-folder "
            f"such as 'good'. {LAYOUTS}."
        )
    if loose:
        return [_record(path, "", "train") for path in loose]
    if not labelled:
        raise DatasetError(f"{root} holds no images ({_suffixes()}). {LAYOUTS}.")
    if need_normal and not any(_is_normal(name) for name in labelled):
        raise DatasetError(_no_normal_folder(root, folders))
    return [
        _record(path, "" if _is_normal(name) else name, "train" if _is_normal(name) else "test")
        for name, images in labelled.items()
        for path in images
    ]


def _no_normal_folder(root: Path, folders: dict[str, Path]) -> str:
    categories = sorted(name for name, folder in folders.items() if (folder / "train").is_dir())
    if categories:
        return (
            f"{root} holds several data sets ({', '.join(categories[:3])}), expected one; "
            f"give one of them, such as {folders[categories[0]]}"
        )
    return (
        f"{root} has no sub-folder of normal images, got {', '.join(sorted(folders)[:5])}; "
        f"call one of them {', '.join(sorted(NORMAL_NAMES))}. {LAYOUTS}."
    )


def _read_mvtec(root: Path) -> Iterator[ImageRecord]:
    for split in ("train", "test"):
        loose = [path.name for path in _visible(root / split) if _is_image(path)]
        if loose:
            raise DatasetError(
                f"expected sub-folders of images in {root / split}, got the image {loose[0]}; "
                "move it into 'good' or a folder named after its defect"
            )
    train = [
        (folder, path) for folder in _subfolders(root / "train") for path in _images_at(folder)
    ]
    for folder, path in train:
        if not _is_normal(folder.name):
            raise DatasetError(
                f"expected only normal images in {root / 'train'}, got the folder {folder.name}; "
                "move it to 'test'"
            )
        yield _record(path, "", "train")
    if not train:
        raise DatasetError(f"expected normal images in {root / 'train' / 'good'}, got none")

    types = {folder.name for folder in _subfolders(root / "test")}
    types |= {folder.name for folder in _subfolders(root / "ground_truth")}
    for name in sorted(types):
        images = _images_at(root / "test" / name)
        if _is_normal(name):
            yield from (_record(path, "", "test") for path in images)
        else:
            masks = _pair_masks(images, root / "test" / name, root / "ground_truth" / name)
            yield from (_record(path, name, "test", masks.get(path)) for path in images)


def _pair_masks(images: Sequence[Path], folder: Path, mask_folder: Path) -> dict[Path, Path]:
    """Find the mask ``NAME_mask`` (or else ``NAME``) of each image NAME, of any image suffix."""
    masks = {_stem(path, mask_folder): path for path in _images_at(mask_folder)}
    pairs = {
        image: masks[key]
        for image in images
        for key in (_stem(image, folder), _stem(image, folder) + "_mask")
        if key in masks
    }
    if masks and not pairs:
        example = min(masks.values())
        wanted = f"{images[0].stem}_mask.png" if images else f"an image in {folder}"
        raise DatasetError(
            f"no mask in {mask_folder} belongs to an image in {folder}: got {example.name}, "
            f"expected {wanted}; masks are paired by name, NAME_mask with NAME"
        )
    return pairs


def _stem(path: Path, folder: Path) -> str:
    """Name of a file below a folder without its suffix, however its accents are encoded."""
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def _read_csv(path: Path) -> list[ImageRecord]:
    if not path.exists():
        raise DatasetError(f"there is nothing at {path}. {LAYOUTS}.")
    if path.suffix.lower() != ".csv":
        raise DatasetError(f"{path} is neither a folder nor a CSV file. {LAYOUTS}.")
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
    unknown = [name for name in columns if name not in CSV_COLUMNS]
    if unknown or "path" not in columns:
        raise DatasetError(
            f"expected a first line with the columns {','.join(CSV_COLUMNS)} (only path is "
            f"required, commas between them) in {path}, got {','.join(columns) or 'none'}; "
            + (f"unknown: {', '.join(unknown)}" if unknown else "add the column path")
        )
    seen: dict[Path, int] = {}
    for row in reader:
        try:
            record = _csv_record(path.parent, row)
            if record.path in seen:
                raise ValueError(f"{record.path} came before, on line {seen[record.path]}")
        except ValueError as error:
            raise DatasetError(f"line {reader.line_num} of {path}: {error}") from error
        seen[record.path] = reader.line_num
        yield record
    if not seen:
        raise DatasetError(f"expected a line per image in {path}, got only the first line")


def _csv_record(folder: Path, row: dict[str, str]) -> ImageRecord:
    """Check one CSV row; ValueError without the place."""
    if None in row:
        raise ValueError("more fields than columns; put a text with commas into quotes")
    fields = {name: value.strip() for name, value in row.items()}
    if not fields["path"]:
        raise ValueError("expected an image path, got none")
    label, defect_type = fields.get("label", ""), fields.get("defect_type", "")
    normal = not label or _is_normal(label)
    if not normal and label.lower() != "defective":
        raise ValueError(f"expected label normal, good, ok or defective, got '{label}'")
    if normal and _is_normal(defect_type):
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


def _record(path: Path, defect_type: str, split: Split, mask: Path | None = None) -> ImageRecord:
    return ImageRecord(path, "defective" if defect_type else "normal", defect_type, split, mask)


def _is_normal(name: str) -> bool:
    return name.lower() in NORMAL_NAMES


def _is_image(path: Path) -> bool:
    """Tell by the suffix; a link that leads nowhere counts, so that its reader complains."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()


def _visible(folder: Path) -> list[Path]:
    """List what a folder holds apart from hidden entries; nothing if there is no such folder."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in entries if not path.name.startswith("."))


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _images_at(path: Path) -> list[Path]:
    """List an image itself, or the images in a folder and its visible sub-folders, sorted.

    Links to folders are not followed below the first, since they may lead in circles.
    """
    if not path.is_dir():
        return [path] if _is_image(path) else []
    below = (entry for entry in _visible(path) if not (entry.is_symlink() and entry.is_dir()))
    return [image for entry in below for image in _images_at(entry)]


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
