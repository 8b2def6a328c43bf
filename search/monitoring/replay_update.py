"""Replays verdicts already given as if a change had been made, before anybody confirms it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.errors import ImageError
from backbones.pipeline import ImageFeatures, Skipped
from indexer.calibration.base import Verdict
from indexer.catalog.collections import check_keeps_patches
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.open_scorer import open_scorer
from indexer.update.preview_update import preview_additions
from search.inspector import Inspector


@dataclass(frozen=True, slots=True)
class Replayed:
    """One image's present score and verdict, and those after the change."""

    path: Path
    score: float
    verdict: Verdict
    score_after: float
    verdict_after: Verdict


@dataclass(frozen=True, slots=True)
class Replay:
    """Effects of adding images as normal.

    Attributes:
        roles: role that each image would get, see `Preview`.
        patches: number of patches that would be added to the memory bank.
        threshold, threshold_after: reject thresholds before and after.
        images: the images that would be added, then the others requested, without unreadable ones.
        unreadable: images that cannot be read.
    """

    roles: tuple[str, ...]
    patches: int
    threshold: float
    threshold_after: float
    images: tuple[Replayed, ...]
    unreadable: tuple[Skipped, ...]

    @property
    def changed(self) -> tuple[Replayed, ...]:
        """Images whose verdict would change."""
        return tuple(image for image in self.images if image.verdict != image.verdict_after)


def replay_additions(
    inspector: Inspector, images: Sequence[Path], others: Sequence[Path] = ()
) -> Replay:
    """Replay adding ``images`` as normal, for themselves and for ``others``; writes nothing.

    Raises:
        ImageError: none of the images can be read.
        CategoryError: the category has an image-level backbone.
    """
    inspector.refresh()
    check_keeps_patches(inspector.category, "a replay")
    joining, unreadable = _readable(inspector, images)
    if not joining:
        raise ImageError(f"{unreadable[0].path}: {unreadable[0].reason}")
    beside, also_unreadable = _readable(inspector, others)
    preview = preview_additions(joining, category=inspector.category, bank=inspector.bank)
    before, after = inspector.calibration, preview.calibration
    new = ExactIndex(preview.vectors) if len(preview.vectors) else None
    aggregate = open_scorer(inspector.category).aggregate
    replayed: list[Replayed] = []
    for features in [*joining, *beside]:
        distances = inspector.index.search(features.patches).distances
        lowered = distances
        if new:
            lowered = np.minimum(distances, new.search(features.patches).distances)
        score, score_after = aggregate(distances), aggregate(lowered)
        replayed.append(
            Replayed(
                features.path,
                score,
                before.verdict(score),
                score_after,
                after.verdict(score_after),
            )
        )
    return Replay(
        roles=preview.roles,
        patches=len(preview.vectors),
        threshold=before.threshold,
        threshold_after=after.threshold,
        images=tuple(replayed),
        unreadable=(*unreadable, *also_unreadable),
    )


def _readable(
    inspector: Inspector, paths: Sequence[Path]
) -> tuple[list[ImageFeatures], list[Skipped]]:
    found = list(inspector.embed(paths))
    return (
        [image for image in found if not isinstance(image, Skipped)],
        [image for image in found if isinstance(image, Skipped)],
    )
