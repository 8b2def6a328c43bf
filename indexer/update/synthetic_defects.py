"""Made-up defects on the calibration images, kept as embeddings like the images themselves.

Of each defect the ``CELLS`` patches that it changes most are kept: a defect of the largest size
covers 16 of 1024 and the ring around it. Its image's score is the largest distance of these and of
the undamaged image. The image files are read once; from then on every change of the category
measures the kept patches again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.geometry import to_input
from indexer.catalog.cached_arrays import keep, read_kept
from indexer.catalog.collections import read_bank, read_images, with_channels
from indexer.catalog.revisions import commit, undo_interrupted
from indexer.catalog.schema import CatalogEntry, LibraryImage
from indexer.learn.calibrator import Calibrator
from indexer.learn.recalibrate import distances_to_others, recalibrated
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.synthetic.blending import CONTRASTS, SIZES, blend_defect
from indexer.update.insertion import check_patches, following

Float32 = NDArray[np.float32]

KINDS = tuple((size, contrast) for size in SIZES for contrast in CONTRASTS)
"""Size and contrast of each image's made-up defects, in the order they are kept."""
MOST_IMAGES = 20
CELLS = 64


def imagine_defects(
    *,
    store: VectorStore,
    entry: CatalogEntry,
    backbone: Backbone,
    calibrator: Calibrator,
    on_progress: Progress = lambda stage, done, total: None,
) -> CatalogEntry:
    """Keep one defect of every kind on up to ``MOST_IMAGES`` calibration images, as a revision.

    Raises:
        ImageError: the file of one of them cannot be read.
        CategoryError: the category is of an image-level backbone.
    """
    check_patches(entry, "a made-up defect")
    undo_interrupted(store, entry)
    after = replace(following(entry), build_key=entry.build_key)
    seed = int(entry.settings["seed"])
    library = read_images(store, entry)
    calibrating = sorted(key for key, _ in read_kept(store, entry, "distances"))
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.permutation(calibrating)[:MOST_IMAGES].tolist())
    network = with_channels(backbone, entry)
    defects: dict[str, Float32] = {}
    for key, plain in read_kept(store, entry, "patches", chosen):
        defects[key] = _most_changed(plain, library[key], network, rng)
        on_progress("made-up defects", len(defects), len(chosen))
    keep(store, after, "synthetic", defects.items())
    found = distances_to_others(read_bank(store, entry), entry, calibrator, defects)
    keep(store, after, "synthetic distances", found)
    after = replace(after, action=f"{len(chosen) * len(KINDS)} made-up defects")
    after = recalibrated(store, after, calibrator)
    commit(store, after)
    return after


def imagined_scores(store: VectorStore, entry: CatalogEntry) -> Iterator[tuple[int, Float32]]:
    """(index in ``KINDS``, patch distances (n,)) of each made-up defect's image."""
    plain = dict(read_kept(store, entry, "distances"))
    for key, rows in read_kept(store, entry, "synthetic distances"):
        for kind, row in enumerate(rows):
            yield kind, np.append(row, plain[key].max())


def _most_changed(
    plain: Float32, image: LibraryImage, network: Backbone, rng: np.random.Generator
) -> Float32:
    """(kinds, CELLS, D): the patches that each kind of defect changes most."""
    spec = network.spec
    try:
        loaded = load_image(Path(image.path), size_hint=spec.input_size)
    except ImageError as error:
        raise ImageError(
            f"{image.path}: {error}. Made-up defects need the calibration images once."
        ) from error
    pixels = to_input(loaded.pixels, spec.input_size, spec.crop)
    flat = plain.reshape(-1, plain.shape[-1])
    rows = []
    for size, contrast in KINDS:
        damaged, _ = blend_defect(pixels, rng, size=size, contrast=contrast)
        patches = network.embed(damaged[None]).patches[0].reshape(flat.shape)
        change = ((patches - flat) ** 2).sum(axis=1)
        rows.append(patches[np.argsort(-change, kind="stable")[:CELLS]])
    return np.stack(rows)
