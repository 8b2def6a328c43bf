"""Replays other levels on those images of the library whose scores are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexer.calibration.base import Calibration, Verdict
from indexer.catalog.category import Category
from indexer.catalog.collections import read_bank, read_defect_patches, read_images
from indexer.catalog.commits import read_history
from indexer.catalog.entry import LibraryImage
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.open_scorer import open_scorer

NORMAL, UNNAMED = "normal", "unnamed"


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """A library image and its image score at the current memory bank."""

    image: LibraryImage
    score: float

    @property
    def kind(self) -> str:
        """Defect type of the image, `NORMAL` or `UNNAMED`."""
        if self.image.label == "normal":
            return NORMAL
        return self.image.defect_type or UNNAMED


@dataclass(frozen=True, slots=True)
class Flip:
    """An image whose verdict would change at other levels."""

    scored: ScoredImage
    before: Verdict
    after: Verdict


def scored_images(category: Category) -> list[ScoredImage]:
    """The test images of the library with their scores, by path.

    A defective image added before the last change of the memory bank is measured again by its
    stored anomalous patches. A normal one has no stored patches and keeps its score from when it
    was added.
    """
    images = read_images(category, {"split": "test"}).values()
    known = {image.image_id: image.score for image in images if image.score is not None}
    changed_at = _bank_changed_at(category)
    outdated = {
        image.image_id
        for image in images
        if image.label == "defective" and image.added_at < changed_at
    }
    if outdated and category.keeps_patches:
        known.update(_measured_again(category, outdated & known.keys()))
    ordered = sorted(images, key=lambda image: (image.path, image.image_id))
    return [ScoredImage(i, known[i.image_id]) for i in ordered if i.image_id in known]


def replay_levels(scored: Iterable[ScoredImage], now: Calibration, then: Calibration) -> list[Flip]:
    """The images whose verdict differs between two calibrations, highest score first."""
    told = [Flip(item, now.verdict(item.score), then.verdict(item.score)) for item in scored]
    flipped = [flip for flip in told if flip.before != flip.after]
    return sorted(flipped, key=lambda flip: (-flip.scored.score, flip.scored.image.image_id))


def scores_by_kind(scored: Iterable[ScoredImage]) -> dict[str, list[float]]:
    """Scores of the images of each kind; normal first, then by name."""
    found: dict[str, list[float]] = {}
    for item in scored:
        found.setdefault(item.kind, []).append(item.score)
    return dict(sorted(found.items(), key=lambda item: (item[0] != NORMAL, item[0])))


def count_verdicts(
    scores: Mapping[str, Sequence[float]], calibration: Calibration
) -> Mapping[str, Counter[Verdict]]:
    """Number of images with each verdict, by kind as in ``scores``."""
    return {kind: Counter(map(calibration.verdict, values)) for kind, values in scores.items()}


def _bank_changed_at(category: Category) -> str:
    """Time of the memory bank's last change since it was learnt; empty if there was none."""
    past = [e for e in read_history(category) if e.origin == category.entry.origin]
    sizes = [(entry.counts["bank_images"], entry.counts["bank_patches"]) for entry in past]
    changed = [past[n].built_at for n in range(1, len(past)) if sizes[n] != sizes[n - 1]]
    return max(changed, default="")


def _measured_again(category: Category, ids: Iterable[str]) -> dict[str, float]:
    """Image scores by the stored patches of these images."""
    kept = read_defect_patches(category)
    distances = ExactIndex(read_bank(category).vectors).search(kept.vectors[None]).distances[0]
    aggregate = open_scorer(category).aggregate
    rows = ((key, np.flatnonzero(kept.image_ids == key)) for key in ids)
    return {key: aggregate(distances[None, found]) for key, found in rows if len(found)}
