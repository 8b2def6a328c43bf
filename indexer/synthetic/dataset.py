"""Writes synthetic products as an MVTec folder of images, for the demo and the tests."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from indexer.data.image_records import DatasetError
from indexer.synthetic.defects import add_defect, defect_types
from indexer.synthetic.textures import MIN_SIZE, Uint8, render_normal


def write_dataset(
    folder: Path,
    category: str,
    *,
    train: int,
    test_normal: int,
    test_defective: int,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Write an MVTec folder ``folder/category`` of synthetic PNG images and return its path.

    Each image depends only on the seed, the size and its own name, so that a larger data set begins
    with the same images and an interrupted run is simply repeated.

    Args:
        folder: target folder, created if missing.
        category: one of `textures.CATEGORIES`.
        train: number of normal training images.
        test_normal: number of normal test images.
        test_defective: number of defective test images, distributed evenly over the defect types.
        size: side of the images in pixels.
        seed: seed of all images, not negative.

    Raises:
        DatasetError: unknown category, a size too small, or a folder that holds other images.

    """
    if size < MIN_SIZE:
        raise DatasetError(f"expected a size of at least {MIN_SIZE} pixels, got {size}")
    types = defect_types(category)
    root = folder / category
    names = [(f"train/good/{index:03d}.png", "") for index in range(train)]
    names += [(f"test/good/{index:03d}.png", "") for index in range(test_normal)]
    for index in range(test_defective):
        defect_type = types[index % len(types)]
        names.append((f"test/{defect_type}/{index // len(types):03d}.png", defect_type))
    _refuse_other_images(root, {root / name for name, _ in names})

    for name, defect_type in names:
        rng = np.random.default_rng([seed, zlib.crc32(f"{category}/{name}".encode())])
        image = render_normal(category, rng, size)
        if defect_type:
            image, mask = add_defect(image, defect_type, rng)
            mask_name = name.replace("test/", "ground_truth/", 1).replace(".png", "_mask.png")
            _write_png(root / mask_name, mask.astype(np.uint8) * 255)
        _write_png(root / name, image)
    return root


def _refuse_other_images(root: Path, names: set[Path]) -> None:
    """Raise DatasetError if ``root`` holds images other than those about to be written."""
    others = [path for path in root.glob("t*/*/*.png") if path not in names]
    if others:
        raise DatasetError(
            f"{root} already holds other images, such as {min(others)}; "
            "delete that folder or give another one"
        )


def _write_png(path: Path, pixels: Uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
