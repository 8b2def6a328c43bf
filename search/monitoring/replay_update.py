"""What a change would do to verdicts already given, before anybody confirms it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.errors import ImageError
from backbones.pipeline import ImageFeatures, Skipped
from indexer.calibration.base import Calibration, Verdict
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.distances import image_score, patch_distances
from indexer.update.insertion import check_patches
from indexer.update.preview_update import preview_additions
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector


@dataclass(frozen=True, slots=True)
class Replayed:
    """One image's score and verdict as they are and as they would be."""

    path: Path
    score: float
    verdict: Verdict
    score_after: float
    verdict_after: Verdict


@dataclass(frozen=True, slots=True)
class Replay:
    """What letting images join as normal would change.

    Attributes:
        roles: what each would become, see `indexer.update.preview_update.Preview`.
        patches: that would join the memory bank.
        threshold, threshold_after: reject thresholds.
        images: those that would join first, then the others asked for; without the unreadable.
        unreadable: these.
    """

    roles: tuple[str, ...]
    patches: int
    threshold: float
    threshold_after: float
    images: tuple[Replayed, ...]
    unreadable: tuple[Skipped, ...]

    @property
    def changed(self) -> tuple[Replayed, ...]:
        """Those whose verdict would be another one."""
        return tuple(image for image in self.images if image.verdict != image.verdict_after)


def replay_additions(
    inspector: Inspector, images: Sequence[Path], others: Sequence[Path] = ()
) -> Replay:
    """What letting ``images`` join as normal would do to themselves and ``others``; writes nothing.

    Raises:
        ImageError: none of the images can be read.
        CategoryError: the category is of an image-level backbone.
    """
    inspector.refresh()
    check_patches(inspector.entry, "a replay")
    joining, unreadable = _readable(inspector, images)
    if not joining:
        raise ImageError(f"{unreadable[0].path}: {unreadable[0].reason}")
    beside, also_unreadable = _readable(inspector, others)
    entry, bank = inspector.entry, inspector.bank
    preview = preview_additions(
        joining,
        store=inspector.store,
        entry=entry,
        bank=bank,
        calibrator=ConformalCalibrator.of(entry),
    )
    before, after = inspector.calibration, Calibration.from_payload(preview.calibration)
    new = ExactIndex(preview.vectors) if len(preview.vectors) else None
    replayed: list[Replayed] = []
    for features in [*joining, *beside]:
        distances = patch_distances(features.patches, inspector.index).distances
        lowered = distances
        if new:
            lowered = np.minimum(distances, patch_distances(features.patches, new).distances)
        score, score_after = image_score(distances), image_score(lowered)
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
    found = list(inspector.features(paths))
    return (
        [image for image in found if not isinstance(image, Skipped)],
        [image for image in found if isinstance(image, Skipped)],
    )
