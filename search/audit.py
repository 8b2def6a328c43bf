"""Which normal images look like defects: each is scored by a memory bank that lacks it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from backbones.base import Backbone
from indexer.build import build_index
from indexer.category import read_images
from indexer.dataset import ImageRecord
from indexer.kept import read_kept
from indexer.progress import Progress
from indexer.schema import CatalogEntry, CategoryError
from indexer.store import VectorStore, open_store
from search.calibrator import ConformalCalibrator
from search.scoring import image_score


@dataclass(frozen=True, slots=True)
class Suspect:
    """A normal image and its leave-one-out score; rank 1 looks least like the others."""

    rank: int
    image_id: str
    path: str
    score: float


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
    scores = {key: image_score(found) for key, found in read_kept(store, entry, "distances")}
    ordered = sorted(scores, key=lambda key: (-scores[key], key))
    return [
        Suspect(rank, key, images[key].path, scores[key]) for rank, key in enumerate(ordered, 1)
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
