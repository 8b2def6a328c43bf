"""What a change would do to verdicts already given, before anybody confirms it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.errors import ImageError
from backbones.pipeline import Skipped
from indexer.preview import preview_addition
from search.calibration import Calibration, ConformalCalibrator, Verdict
from search.inspector import Inspector
from search.knn import ExactIndex
from search.scoring import image_score, patch_distances


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
    """What letting an image join as normal would change.

    Attributes:
        role: what it would become, see `indexer.preview.Preview`.
        patches: that would join the memory bank.
        threshold, threshold_after: reject thresholds.
        images: the image itself first, then those asked for that can be read.
        unreadable: the others.
    """

    role: str
    patches: int
    threshold: float
    threshold_after: float
    images: tuple[Replayed, ...]
    unreadable: tuple[Skipped, ...]

    @property
    def changed(self) -> tuple[Replayed, ...]:
        """Those whose verdict would be another one."""
        return tuple(image for image in self.images if image.verdict != image.verdict_after)


def replay_addition(inspector: Inspector, image: Path, others: Sequence[Path] = ()) -> Replay:
    """What letting ``image`` join as normal would do to itself and ``others``; writes nothing.

    Raises:
        ImageError: the image cannot be read.
        CategoryError: the category is of an image-level backbone.
    """
    inspector.refresh()
    found = list(inspector.features([image, *others]))
    if isinstance(found[0], Skipped):
        raise ImageError(f"{found[0].path}: {found[0].reason}")
    entry, bank = inspector.entry, inspector.bank
    preview = preview_addition(
        found[0],
        store=inspector.store,
        entry=entry,
        bank=bank,
        calibrator=ConformalCalibrator.of(entry),
    )
    before, after = inspector.calibration, Calibration.from_payload(preview.calibration)
    joining = ExactIndex(preview.vectors) if len(preview.vectors) else None
    replayed: list[Replayed] = []
    unreadable: list[Skipped] = []
    for features in found:
        if isinstance(features, Skipped):
            unreadable.append(features)
            continue
        distances = patch_distances(features.patches, inspector.index).distances
        lowered = distances
        if joining:
            lowered = np.minimum(distances, patch_distances(features.patches, joining).distances)
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
        role=preview.role,
        patches=len(preview.vectors),
        threshold=before.threshold,
        threshold_after=after.threshold,
        images=tuple(replayed),
        unreadable=tuple(unreadable),
    )
