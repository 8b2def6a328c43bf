"""Synthetic defects on the calibration images, cached as embeddings like the images.

For each defect, the ``CELLS`` patches that it changes most are cached: a defect of the largest size
covers 16 of 1024 and the ring around them. The score of its image is the largest distance among
these patches and those of the undamaged image. The image files are read once; from then on, every
change of the category measures the cached patches again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.errors import ImageError
from backbones.pipeline import network_input
from indexer.bank.feature_space import in_space
from indexer.catalog.cached_arrays import read_cached, write_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import check_keeps_patches, read_bank, read_images
from indexer.catalog.commits import commit
from indexer.catalog.entry import LibraryImage
from indexer.catalog.revisions import end, undo_interrupted
from indexer.learn.recalibrate import distances_to_others, recalibrated
from indexer.progress import Progress
from indexer.synthetic.blending import KINDS, blend_defect

Float32 = NDArray[np.float32]

MOST_IMAGES = 20
CELLS = 64


def add_synthetic_defects(
    *,
    category: Category,
    backbone: Backbone,
    on_progress: Progress = lambda stage, done, total: None,
) -> Category:
    """Cache one defect of every kind on up to ``MOST_IMAGES`` calibration images, as a revision.

    Raises:
        ImageError: the file of one of these images cannot be read.
        CategoryError: the category has an image-level backbone.
    """
    check_keeps_patches(category, "a synthetic defect")
    undo_interrupted(category)
    after = category.following("synthetic", KINDS, build_key=category.entry.build_key)
    library = read_images(category)
    calibrating = sorted(key for key, _ in read_cached(category, "distances"))
    rng = np.random.default_rng(int(category.entry.settings["seed"]))
    chosen = sorted(rng.permutation(calibrating)[:MOST_IMAGES].tolist())
    network = in_space(backbone, category.entry.feature_space)
    defects: dict[str, Float32] = {}
    for key, plain in read_cached(category, "patches", chosen):
        defects[key] = _most_changed(plain, library[key], network, rng)
        on_progress("synthetic defects", len(defects), len(chosen))
    end(category, category.cached, {"kind": ["synthetic", "synthetic distances"]})
    write_cached(after, "synthetic", defects.items())
    found = distances_to_others(category, read_bank(category), defects)
    write_cached(after, "synthetic distances", found)
    after = after.with_entry(action=f"{len(chosen) * len(KINDS)} synthetic defects")
    after = recalibrated(after)
    commit(after)
    return after


def _most_changed(
    plain: Float32, image: LibraryImage, network: Backbone, rng: np.random.Generator
) -> Float32:
    """(kinds, CELLS, D) patches that each kind of defect changes most."""
    try:
        pixels = network_input(Path(image.path), network.spec).pixels
    except ImageError as error:
        raise ImageError(
            f"{image.path}: {error}. Synthetic defects need the files of the calibration images "
            "once."
        ) from error
    flat = plain.reshape(-1, plain.shape[-1])
    rows = []
    for size, contrast in KINDS:
        damaged, _ = blend_defect(pixels, rng, size=size, contrast=contrast)
        patches = network.embed(damaged[None]).patches[0].reshape(flat.shape)
        change = ((patches - flat) ** 2).sum(axis=1)
        rows.append(patches[np.argsort(-change, kind="stable")[:CELLS]])
    return np.stack(rows)
