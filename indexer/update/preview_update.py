"""What letting normal images join would do, found out without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from backbones.weights import sha256_of
from indexer.bank.extension import Growth
from indexer.catalog.cached_arrays import Kind, read_kept
from indexer.catalog.schema import CatalogEntry, MemoryBank
from indexer.learn.calibrator import Calibrator
from indexer.learn.recalibrate import (
    MEASURED,
    calibration_of,
    distances_to_others,
    lowered_distances,
)
from indexer.learn.split import roles_of_joining
from indexer.store.base import VectorStore
from indexer.update.joining_patches import calibrates

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What `indexer.update.insertion.add_images` would do with normal images.

    Attributes:
        roles: what each would become, ``bank`` or ``calibration``; of a leave-one-out category,
            where ``bank`` is both.
        vectors: (P, D) float32, their patches that would join the memory bank.
        calibration: payload of the calibration after it.
    """

    roles: tuple[str, ...]
    vectors: Float32
    calibration: dict[str, Any]


def preview_additions(
    images: Sequence[ImageFeatures],
    *,
    store: VectorStore,
    entry: CatalogEntry,
    bank: MemoryBank,
    calibrator: Calibrator,
) -> Preview:
    """What adding ``images`` as normal would change.

    Args:
        entry: of a category that keeps patches.
        bank: of the entry.
        calibrator: the one that calibrates the category.
    """
    growth = Growth(entry, bank)
    hashes = [sha256_of(image.path) for image in images]
    by_content = roles_of_joining(entry, hashes)
    roles = [by_content[sha256] for sha256 in hashes]
    calibrating: dict[str, Float32] = {}
    for number, (image, role) in enumerate(zip(images, roles, strict=True)):
        key = f"new {number}"
        if role == "bank":
            growth.take(key, image.patches)
        if calibrates(entry, role):
            calibrating[key] = image.patches
    distances, synthetic = (
        _with_new(growth.new.vectors, kept, measured, store, entry, calibrator)
        for kept, measured in MEASURED
    )
    distances |= distances_to_others(growth.bank, entry, calibrator, calibrating)
    calibration = calibration_of(entry, calibrator, distances, synthetic)
    return Preview(tuple(roles), growth.new.vectors, calibration)


def _with_new(
    vectors: Float32,
    kept: Kind,
    measured: Kind,
    store: VectorStore,
    entry: CatalogEntry,
    calibrator: Calibrator,
) -> dict[str, Float32]:
    """The distances kept, by image id, lowered by the patches ``vectors`` (P, D)."""
    found = dict(read_kept(store, entry, measured))
    if len(vectors):
        found |= lowered_distances(store, entry, kept, measured, vectors, calibrator)
    return found
