"""What a change of the bank does to the distances that are kept, measured without image files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from indexer.bank.extension import Growth
from indexer.bank.pruning import images_in_reach
from indexer.catalog.cached_arrays import Kind, keep, read_kept
from indexer.catalog.collections import read_bank
from indexer.catalog.revisions import end
from indexer.catalog.schema import (
    WHOLE,
    CatalogEntry,
    MemoryBank,
    images_collection,
    library_image,
    patches_collection,
    visible,
)
from indexer.knn.brute_force import squared_distances
from indexer.learn.calibrator import Calibrator
from indexer.store.base import VectorStore, Where

Float32 = NDArray[np.float32]

MEASURED: tuple[tuple[Kind, Kind], ...] = (
    ("patches", "distances"),
    ("synthetic", "synthetic distances"),
)
"""What is kept of the calibration images, and the distances measured of it."""
_SAME = np.float32(1.001)


def measure_growth(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    calibrator: Calibrator,
    growth: Growth,
    calibrating: Mapping[str, Float32],
) -> None:
    """Write the distances that new bank patches lower, and those of new calibration images.

    Args:
        calibrating: patches (H, W, D) of the latter by image id.
    """
    if len(growth.new.vectors):
        for kept, measured in MEASURED:
            found = lowered_distances(store, entry, kept, measured, growth.new.vectors, calibrator)
            _replace_distances(store, entry, after, measured, found)
    keep(
        store, after, "distances", distances_to_others(growth.bank, after, calibrator, calibrating)
    )


def distances_to_others(
    bank: MemoryBank,
    entry: CatalogEntry,
    calibrator: Calibrator,
    patches: Mapping[str, Float32],
) -> Iterator[tuple[str, Float32]]:
    """(image id, distances (H, W)) of patches (H, W, D) by image id to those of other images."""
    if not patches:
        return
    if entry.layout == "leave-one-out":
        yield from calibrator.leave_one_out(
            bank, list(patches), lambda keys: ((key, patches[key]) for key in keys)
        )
        return
    # none that calibrates is in the bank
    measure = calibrator.measurer(bank.vectors)
    for key, array in patches.items():
        yield key, measure(array)


def lowered_distances(
    store: VectorStore,
    entry: CatalogEntry,
    kept: Kind,
    measured: Kind,
    vectors: Float32,
    calibrator: Calibrator,
) -> dict[str, Float32]:
    """By image id the distances that the new bank patches ``vectors`` (P, D) lower, P >= 1."""
    before = dict(read_kept(store, entry, measured))
    if not before:
        return {}
    lower: dict[str, Float32] = {}
    to_new = calibrator.measurer(vectors)
    for key, patches in _read_in_reach(store, entry, kept, vectors, before):
        found = to_new(patches)
        if (found < before[key]).any():
            lower[key] = np.minimum(before[key], found)
    return lower


def _read_in_reach(
    store: VectorStore,
    entry: CatalogEntry,
    kept: Kind,
    vectors: Float32,
    within: Mapping[str, Float32],
) -> Iterator[tuple[str, Float32]]:
    """(image id, what is kept of it), at least where some is ``within`` of one of ``vectors``."""
    keys = list(within)
    if kept == "patches":
        keys = images_in_reach(store, entry, vectors, within)
    if keys:
        yield from read_kept(store, entry, kept, keys)


def measure_again(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    bank: MemoryBank,
    lost: Float32,
    gone: set[str],
) -> int:
    """Write every distance that rises with patches that left; how many were covered and are not.

    Only a patch whose nearest was among those that left can rise, and only such are measured.

    Args:
        bank: what is left.
        lost: (L, D) the patches that left.
        gone: images whose own distances are no longer needed.
    """
    uncovered = 0
    for kept, measured in MEASURED:
        higher: dict[str, Float32] = {}
        before = {k: d for k, d in read_kept(store, entry, measured) if k not in gone}
        # the first measurement was in float32, this one starts from float16
        within = {key: distances * _SAME for key, distances in before.items()}
        for key, patches in _read_in_reach(store, entry, kept, lost, within):
            flat = patches.reshape(-1, patches.shape[-1])
            to_lost = np.sqrt(squared_distances(flat, lost)).reshape(before[key].shape)
            touched = to_lost <= within[key]
            if not touched.any():
                continue
            risen = before[key].copy()
            own = bank.image_ids == key
            others = bank.vectors[~own] if own.any() else bank.vectors
            found = np.sqrt(squared_distances(flat[touched.ravel()], others))
            risen[touched] = np.maximum(found, before[key][touched])
            if kept == "patches":
                covered, radius = before[key] <= entry.radius, entry.radius
                uncovered += int((covered & (risen > radius)).sum())
            higher[key] = risen
        _replace_distances(store, entry, after, measured, higher)
    return uncovered


def _replace_distances(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    kind: Kind,
    distances: Mapping[str, Float32],
) -> None:
    """Let the images of ``distances`` have these instead of those they had."""
    if distances:
        collection = patches_collection(entry.category, entry.backbone)
        end(store, entry, collection, {"image_id": list(distances), "kind": kind})
        keep(store, after, kind, distances.items())


def recalibrated(store: VectorStore, after: CatalogEntry, calibrator: Calibrator) -> CatalogEntry:
    """The entry with the calibration that what is kept for its revision gives."""
    if after.spec.level == "image":
        distances = _distances_of_wholes(store, after, calibrator)
        synthetic: dict[str, Float32] = {}
    else:
        distances = dict(read_kept(store, after, "distances"))
        synthetic = dict(read_kept(store, after, "synthetic distances"))
    counts = {**after.counts, "calibration_images": len(distances)}
    calibration = calibration_of(after, calibrator, distances, synthetic)
    return replace(after, counts=counts, calibration=calibration)


def _distances_of_wholes(
    store: VectorStore, entry: CatalogEntry, calibrator: Calibrator
) -> dict[str, Float32]:
    """Distance (1, 1) of each calibration image to the bank's images, by their embeddings alone."""
    measure = calibrator.scorer(store, entry, read_bank(store, entry))
    found = {}
    library = images_collection(entry.category, entry.backbone)
    where: Where = {**visible(entry), "split": "calibration"}
    for point in store.scroll(library, where, with_vectors=[WHOLE]):
        image, whole = library_image(point.payload), point.vectors[WHOLE]
        path, patches = Path(image.path), whole[None, None]
        features = ImageFeatures(path, image.width, image.height, patches, whole)
        found[image.image_id], _ = measure(features)
    return found


def calibration_of(
    entry: CatalogEntry,
    calibrator: Calibrator,
    distances: Mapping[str, Float32],
    synthetic: Mapping[str, Float32],
) -> dict[str, Any]:
    """The calibration of distances (H, W), and of those of made-up defects, by image id."""
    made_up = [
        np.append(row, distances[key].max()) for key, rows in synthetic.items() for row in rows
    ]
    return calibrator.calibrate(entry.spec, list(distances.values()), made_up)
