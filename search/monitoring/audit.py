"""Which normal images look like defects: each is scored by a memory bank that lacks it.

Where one of them alone sets the reject level, it is worth a look before anything is trusted: a
defect among the calibration images lets every smaller one pass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from backbones.base import Backbone
from indexer.calibration.base import Calibration, conformal_rank
from indexer.catalog.cached_arrays import read_kept
from indexer.catalog.collections import read_images
from indexer.catalog.schema import CatalogEntry, CategoryError
from indexer.data.image_records import ImageRecord
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.scoring.distances import image_score
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator


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


def level_image(store: VectorStore, entry: CatalogEntry) -> LevelImage | None:
    """The image that alone sets the reject level; None where the level rests on several.

    By rank that is so below 2 / (n + 1): at 1 % with fewer than 199 calibration images. An
    image-level category keeps no distances to tell it by.
    """
    calibration = Calibration.from_payload(entry.calibration)
    by_rank = calibration.method in ("conformal", "cross-conformal")
    alone = by_rank and conformal_rank(calibration.alpha_reject, calibration.n) <= 1
    if not alone or calibration.n < 2 or entry.spec.level == "image":
        return None
    ordered = _by_score(store, entry)
    (first, score), (_, next_score) = ordered[:2]
    image = read_images(store, entry, {"image_id": first})[first]
    return LevelImage(first, image.path, score, next_score)


def audit(store: VectorStore, entry: CatalogEntry) -> list[Suspect]:
    """Every normal image of a leave-one-out category, strangest first.

    Raises:
        CategoryError: the category was learnt with images held out.
    """
    if entry.layout != "leave-one-out":
        raise CategoryError(
            f"'{entry.category}' was learnt with images held out, and only those could be ranked. "
            "Audit while learning: vecspect index DATASET --category "
            f"{entry.category} --audit, or learn with --method cross-conformal."
        )
    images = read_images(store, entry)
    return [
        Suspect(rank, key, images[key].path, score)
        for rank, (key, score) in enumerate(_by_score(store, entry), 1)
    ]


def audit_dataset(
    records: Sequence[ImageRecord],
    *,
    category: str,
    backbone: Backbone,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[Suspect]:
    """The normal training images of a data set, strangest first; nothing is kept.

    The ids are those they have in a category of that name.
    """
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
        entry = build_index(
            [record for record in records if record.split == "train"],
            category=category,
            backbone=backbone,
            store=store,
            calibrator=ConformalCalibrator(method="cross-conformal"),
            on_progress=on_progress,
        ).entry
        return audit(store, entry)


def _by_score(store: VectorStore, entry: CatalogEntry) -> list[tuple[str, float]]:
    """(image id, score) of the calibration images, highest first."""
    scores = ((key, image_score(found)) for key, found in read_kept(store, entry, "distances"))
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))
