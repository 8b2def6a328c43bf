"""Finds normal images that look like defects: each is scored by a memory bank that lacks it.

An image that sets the reject level on its own is worth a look before anything is trusted: a defect
among the calibration images lets every smaller one pass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from backbones.base import Backbone
from indexer.calibration.base import conformal_rank
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.entry import CategoryError
from indexer.data.image_records import ImageRecord
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.scoring.open_scorer import open_scorer
from indexer.store.open import open_store


@dataclass(frozen=True, slots=True)
class Suspect:
    """A normal image and its leave-one-out score; rank 1 looks least like the others."""

    rank: int
    image_id: str
    path: str
    score: float


@dataclass(frozen=True, slots=True)
class LevelImage:
    """The one calibration image whose ``score`` is the reject level, and the next highest score."""

    image_id: str
    path: str
    score: float
    next_score: float


def level_image(category: Category) -> LevelImage | None:
    """The single image that sets the reject level; None if the level rests on several.

    A single image sets it for levels below 2 / (n + 1): at 1 %, with fewer than 199 calibration
    images. An image-level category stores no distances from which to find it.
    """
    calibration = read_calibration(category.entry)
    alone = (
        calibration.bound is not None
        and conformal_rank(calibration.alpha_reject, calibration.n) <= 1
    )
    if not alone or calibration.n < 2 or not category.keeps_patches:
        return None
    ordered = _by_score(category)
    (first, score), (_, next_score) = ordered[:2]
    image = read_images(category, {"image_id": first})[first]
    return LevelImage(first, image.path, score, next_score)


def audit(category: Category) -> list[Suspect]:
    """Every normal image of a leave-one-out category, the least typical first.

    Raises:
        CategoryError: the category was learnt with images held out.
    """
    if category.entry.layout != "leave-one-out":
        raise CategoryError(
            f"'{category.name}' was learnt with held-out images, and only those could be ranked. "
            "Audit while learning: vecspect index DATASET --category "
            f"{category.name} --audit, or learn with --calibration cross-conformal."
        )
    images = read_images(category)
    return [
        Suspect(rank, key, images[key].path, score)
        for rank, (key, score) in enumerate(_by_score(category), 1)
    ]


def audit_dataset(
    records: Sequence[ImageRecord],
    *,
    category: str,
    backbone: Backbone,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[Suspect]:
    """The normal training images of a data set, the least typical first; nothing is stored.

    The ids are those that the images have in a category of this name.
    """
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
        learnt = build_index(
            [record for record in records if record.split == "train"],
            category=category,
            backbone=backbone,
            store=store,
            calibration=CalibrationSettings("cross-conformal"),
            on_progress=on_progress,
        )
        return audit(learnt.category)


def _by_score(category: Category) -> list[tuple[str, float]]:
    """(image id, score) of the calibration images, highest first."""
    aggregate = open_scorer(category).aggregate
    scores = ((key, aggregate(found)) for key, found in read_cached(category, "distances"))
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))
