"""Previews the addition of normal images, without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from indexer.bank.layout import layout_of
from indexer.calibration.base import Calibration
from indexer.calibration.methods import from_payload, read_calibration, settings_of
from indexer.catalog.cached_arrays import Kind, read_cached
from indexer.catalog.category import Category
from indexer.catalog.entry import MemoryBank
from indexer.learn.recalibrate import (
    MEASURED,
    calibration_payload,
    groups_of_bank,
    lowered_distances,
)
from indexer.scoring.open_scorer import open_scorer

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Effects that `indexer.update.insertion.add_images` would have with normal images.

    Attributes:
        roles: role of each image, ``bank`` or ``calibration``; in a leave-one-out category,
            ``bank`` means both.
        vectors: (P, D) float32, patches that would be added to the memory bank.
        calibration: calibration after the addition.
    """

    roles: tuple[str, ...]
    vectors: Float32
    calibration: Calibration


def preview_additions(
    images: Sequence[ImageFeatures], *, category: Category, bank: MemoryBank
) -> Preview:
    """Preview of adding ``images`` as normal.

    Args:
        category: a category that stores patches.
        bank: memory bank of the category.
    """
    layout = layout_of(category.entry)
    extension = layout.extension(category.entry, bank)
    hashes = [image.sha256 for image in images]
    by_content = layout.roles_of_additions(category.entry, {key: key for key in hashes})
    roles = [by_content[sha256] for sha256 in hashes]
    calibrating: dict[str, Float32] = {}
    for number, (image, role) in enumerate(zip(images, roles, strict=True)):
        key = f"new {number}"
        if role == "bank":
            extension.take(key, image.patches)
        if role == layout.calibrating:
            calibrating[key] = image.patches
    groups = {f"new {number}": sha256 for number, sha256 in enumerate(hashes)}
    distances, synthetic = (
        _lowered(extension.new.vectors, cached, measured, category) for cached, measured in MEASURED
    )
    if calibrating:
        distances |= layout.distances(
            extension.bank,
            list(calibrating),
            lambda: groups | groups_of_bank(category),
            lambda keys: ((key, calibrating[key]) for key in keys),
        )
    settings = settings_of(read_calibration(category.entry))
    payload = calibration_payload(open_scorer(category), settings, distances, synthetic)
    return Preview(tuple(roles), extension.new.vectors, from_payload(payload))


def _lowered(
    vectors: Float32, cached: Kind, measured: Kind, category: Category
) -> dict[str, Float32]:
    """Cached distances, by image id, lowered by the patches ``vectors`` (P, D)."""
    found = dict(read_cached(category, measured))
    if len(vectors):
        found |= lowered_distances(category, cached, measured, vectors)
    return found
