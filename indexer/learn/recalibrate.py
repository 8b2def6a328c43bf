"""Calibrates a category again from its cached arrays, without its image files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.bank.extension import BankExtension
from indexer.bank.layout import layout_of
from indexer.bank.pruning import images_in_reach
from indexer.calibration.expected_recall import damaged
from indexer.calibration.methods import (
    CalibrationSettings,
    read_calibration,
    settings_of,
    to_payload,
)
from indexer.catalog.cached_arrays import Kind, read_cached, write_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.entry import MemoryBank
from indexer.catalog.revisions import end
from indexer.knn.brute_force import squared_distances
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.base import Scorer
from indexer.scoring.open_scorer import open_scorer

Float32 = NDArray[np.float32]

MEASURED: tuple[tuple[Kind, Kind], ...] = (
    ("patches", "distances"),
    ("synthetic", "synthetic distances"),
)
"""Kinds of cached arrays of the calibration images, and of the distances measured from them."""
_SAME = np.float32(1.001)


def recalibrated(category: Category) -> Category:
    """The category calibrated with its present settings from the arrays cached for its revision."""
    scorer = open_scorer(category)
    distances = scorer.calibration_distances(category)
    synthetic = dict(read_cached(category, "synthetic distances"))
    settings = settings_of(read_calibration(category.entry))
    return category.with_entry(
        counts={**category.entry.counts, "calibration_images": len(distances)},
        calibration=calibration_payload(scorer, settings, distances, synthetic),
    )


def calibration_payload(
    scorer: Scorer,
    settings: CalibrationSettings,
    distances: Mapping[str, Float32],
    synthetic: Mapping[str, Float32],
) -> dict[str, Any]:
    """The calibration from patch distances (H, W) by image id, in the catalog's form.

    Args:
        synthetic: distances (kinds, cells) of the patches that synthetic defects change.
    """
    calibration = settings.calibrate(
        [scorer.aggregate(found) for found in distances.values()],
        peaks=scorer.peaks(list(distances.values())),
        synthetic=[
            scorer.aggregate(damaged(changed, distances[key]))
            for key, kinds in synthetic.items()
            for changed in kinds
        ],
    )
    return to_payload(calibration)


def distances_to_others(
    category: Category, bank: MemoryBank, patches: Mapping[str, Float32]
) -> Iterator[tuple[str, Float32]]:
    """(image id, distances (H, W)) of calibration images' patches (H, W, D) by image id.

    Args:
        bank: bank that they are measured against, as the category's layout prescribes.
    """
    if not patches:
        return iter(())
    return layout_of(category.entry).distances(
        bank,
        list(patches),
        lambda: groups_of_bank(category),
        lambda keys: ((key, patches[key]) for key in keys),
    )


def groups_of_bank(category: Category) -> dict[str, str]:
    """Group of each image in the memory bank, by its id."""
    bank = read_images(category, {"split": "bank"})
    return {key: image.group for key, image in bank.items()}


def measure_additions(
    before: Category,
    after: Category,
    extension: BankExtension,
    calibrating: Mapping[str, Float32],
) -> None:
    """Write the distances that new bank patches lower, and those of new calibration images.

    Args:
        calibrating: patches (H, W, D) of the new calibration images by image id.
    """
    if len(extension.new):
        for cached, measured in MEASURED:
            found = lowered_distances(before, cached, measured, extension.new.vectors)
            _replace_distances(before, after, measured, found)
    write_cached(after, "distances", distances_to_others(after, extension.bank, calibrating))


def lowered_distances(
    category: Category, cached: Kind, measured: Kind, vectors: Float32
) -> dict[str, Float32]:
    """Distances, by image id, that the new bank patches ``vectors`` (P, D), P >= 1, lower."""
    before = dict(read_cached(category, measured))
    if not before:
        return {}
    lower: dict[str, Float32] = {}
    to_new = ExactIndex(vectors)
    for key, patches in _read_in_reach(category, cached, vectors, before):
        found = to_new.search(patches).distances
        if (found < before[key]).any():
            lower[key] = np.minimum(before[key], found)
    return lower


def measure_removals(
    before: Category, after: Category, bank: MemoryBank, lost: Float32, gone: set[str]
) -> int:
    """Write the distances that removed patches raise, and return how many patches they uncover.

    Only patches whose nearest neighbour was removed are measured again.

    Args:
        bank: bank after the removal.
        lost: (L, D) removed patches.
        gone: images whose own distances are no longer needed.
    """
    groups = groups_of_bank(before)
    owners = np.array([groups[str(key)] for key in bank.image_ids], dtype=np.str_)
    radius, uncovered = before.entry.radius, 0
    for cached, measured in MEASURED:
        higher: dict[str, Float32] = {}
        known = {k: d for k, d in read_cached(before, measured) if k not in gone}
        # the first measurement was in float32, this one is made from float16
        within = {key: distances * _SAME for key, distances in known.items()}
        for key, patches in _read_in_reach(before, cached, lost, within):
            flat = patches.reshape(-1, patches.shape[-1])
            to_lost = np.sqrt(squared_distances(flat, lost)).reshape(known[key].shape)
            touched = to_lost <= within[key]
            if not touched.any():
                continue
            # a held-out image has no patch in the bank, and neither has its group
            own = owners == groups.get(key, "")
            others = bank.vectors[~own] if own.any() else bank.vectors
            found = np.sqrt(squared_distances(flat[touched.ravel()], others))
            higher[key] = known[key].copy()
            higher[key][touched] = np.maximum(found, known[key][touched])
            if cached == "patches":
                uncovered += int(((known[key] <= radius) & (higher[key] > radius)).sum())
        _replace_distances(before, after, measured, higher)
    return uncovered


def _read_in_reach(
    category: Category, cached: Kind, vectors: Float32, within: Mapping[str, Float32]
) -> Iterator[tuple[str, Float32]]:
    """(image id, cached array) of at least those images with patches ``within`` of ``vectors``."""
    keys = list(within)
    if cached == "patches":
        keys = images_in_reach(category, vectors, within)
    if keys:
        yield from read_cached(category, cached, keys)


def _replace_distances(
    before: Category, after: Category, kind: Kind, distances: Mapping[str, Float32]
) -> None:
    """Replace the stored distances of the images of ``distances`` by these."""
    if distances:
        end(before, before.cached, {"image_id": list(distances), "kind": kind})
        write_cached(after, kind, distances.items())
