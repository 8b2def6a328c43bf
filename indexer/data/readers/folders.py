"""Folders of images, and folders with a sub-folder per label."""

from __future__ import annotations

from pathlib import Path

from indexer.data.image_records import (
    NORMAL_NAMES,
    SUFFIXES,
    DatasetError,
    ImageRecord,
    LayoutError,
    images_at,
    is_image,
    is_normal,
    record_of,
    subfolders,
    visible,
)
from indexer.data.readers.base import Reader


def accepts_labels(root: Path) -> bool:
    """True if a folder holds images only in its sub-folders."""
    return root.is_dir() and not _loose_images(root)


def read_labels(root: Path) -> list[ImageRecord]:
    """Records of the images of each sub-folder, labelled with its name."""
    labelled = _images_by_label(root)
    if not labelled:
        raise LayoutError(f"{root} holds no images ({SUFFIXES})")
    return [
        record_of(path, "", "train") if is_normal(name) else record_of(path, name, "test")
        for name, images in labelled.items()
        for path in images
    ]


def no_normal_folder(root: Path) -> DatasetError:
    """Error text for label folders none of which holds normal images."""
    folders = {folder.name: folder for folder in subfolders(root)}
    categories = sorted(name for name, folder in folders.items() if (folder / "train").is_dir())
    if categories:
        return DatasetError(
            f"{root} holds several data sets ({', '.join(categories[:3])}), expected one; "
            f"give one of them, such as {folders[categories[0]]}"
        )
    return LayoutError(
        f"{root} has no sub-folder of normal images, got {', '.join(sorted(folders)[:5])}; "
        f"call one of them {', '.join(sorted(NORMAL_NAMES))}"
    )


def read_images(root: Path) -> list[ImageRecord]:
    """Records of the images in a folder, all of which are normal."""
    loose = _loose_images(root)
    if labelled := _images_by_label(root):
        raise LayoutError(
            f"{root} holds both images ({loose[0].name}) and sub-folders with images "
            f"({min(labelled)}), so their labels are unclear; move the images into a sub-folder "
            "such as 'good'"
        )
    return [record_of(path, "", "train") for path in loose]


def _loose_images(root: Path) -> list[Path]:
    return [path for path in visible(root) if is_image(path)]


def _images_by_label(root: Path) -> dict[str, list[Path]]:
    folders = subfolders(root)
    return {folder.name: images for folder in folders if (images := images_at(folder))}


LABEL_FOLDERS = Reader(
    name="labels",
    layout=(
        "a folder with one sub-folder per label, one of them called "
        f"{' or '.join(sorted(NORMAL_NAMES))}"
    ),
    accepts=accepts_labels,
    read=read_labels,
    without_normal=no_normal_folder,
)

IMAGE_FOLDER = Reader(
    name="images", layout="a folder of normal images", accepts=Path.is_dir, read=read_images
)
