"""MVTec folders: ``train/good``, ``test/TYPE``, ``ground_truth/TYPE``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from indexer.data.image_records import (
    DatasetError,
    ImageRecord,
    images_at,
    is_image,
    is_normal,
    record_of,
    subfolders,
    visible,
)
from indexer.data.readers.base import Reader

FOLDERS = frozenset({"train", "test", "ground_truth"})


def accepts(path: Path) -> bool:
    """True if the folder contains one of the folders of an MVTec data set."""
    return not FOLDERS.isdisjoint(folder.name for folder in subfolders(path))


def read(root: Path) -> Iterator[ImageRecord]:
    """Records of normal training images, and of test images with their masks."""
    for split in ("train", "test"):
        loose = [path.name for path in visible(root / split) if is_image(path)]
        if loose:
            raise DatasetError(
                f"expected sub-folders of images in {root / split}, got the image {loose[0]}; "
                "move it into 'good' or a folder named after its defect"
            )
    train = [(folder, path) for folder in subfolders(root / "train") for path in images_at(folder)]
    for folder, path in train:
        if not is_normal(folder.name):
            raise DatasetError(
                f"expected only normal images in {root / 'train'}, got the folder {folder.name}; "
                "move it to 'test'"
            )
        yield record_of(path, "", "train")
    if not train:
        raise DatasetError(f"expected normal images in {root / 'train' / 'good'}, got none")

    types = {folder.name for folder in subfolders(root / "test")}
    types |= {folder.name for folder in subfolders(root / "ground_truth")}
    for name in sorted(types):
        images = images_at(root / "test" / name)
        if is_normal(name):
            yield from (record_of(path, "", "test") for path in images)
        else:
            masks = _pair_masks(images, root / "test" / name, root / "ground_truth" / name)
            yield from (record_of(path, name, "test", masks.get(path)) for path in images)


def _pair_masks(images: Sequence[Path], folder: Path, mask_folder: Path) -> dict[Path, Path]:
    """Mask ``NAME_mask`` (or ``NAME``) of each image NAME, with any image suffix."""
    masks = {_stem(path, mask_folder): path for path in images_at(mask_folder)}
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
    """Path of a file below a folder without its suffix, however its accents are encoded."""
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


MVTEC_FOLDER = Reader(
    name="mvtec",
    layout="an MVTec folder (train/good, test/TYPE, ground_truth/TYPE)",
    accepts=accepts,
    read=read,
)
