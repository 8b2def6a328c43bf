"""Scores of held-out normal images become p-values, thresholds and verdicts.

Split conformal prediction (Vovk et al. 2005; Bates et al. 2023 for outlier detection): for a
part drawn like the calibration parts, p = (1 + #{calibration >= s}) / (n + 1) falls to alpha or
below with probability at most alpha. So alpha is the false-reject rate, chosen without a defect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from backbones.errors import VecspectError
from backbones.pipeline import ImageFeatures
from indexer.schema import CatalogEntry, MemoryBank, write_entry
from indexer.store import VectorStore
from search.knn import ExactIndex
from search.scoring import (
    image_score,
    nearest_normal_images,
    neighbors_score,
    patch_distances,
)

Verdict = Literal["ok", "review", "reject"]

DEFAULT_REJECT = 0.01
DEFAULT_REVIEW = 0.05
_ROUNDING = 1e-9


class CalibrationError(VecspectError):
    """The calibration images cannot support what is asked of them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """``scores`` of n held-out normal images, ascending, and the two false-reject rates.

    A score is rejected when its p-value is at most ``alpha_reject``, else sent to review when it
    is at most ``alpha_review``.
    """

    scores: tuple[float, ...]
    alpha_reject: float
    alpha_review: float

    @property
    def n(self) -> int:
        """Number of calibration images."""
        return len(self.scores)

    @property
    def threshold(self) -> float:
        """Rejected are exactly the scores above this one."""
        return self._threshold(self.alpha_reject)

    @property
    def review_threshold(self) -> float:
        """Sent to review or rejected are exactly the scores above this one."""
        return self._threshold(self.alpha_review)

    def p_value(self, score: float) -> float:
        """Share of normal parts expected to score this high or higher, in [1/(n+1), 1]."""
        below = int(np.searchsorted(self.scores, score, side="left"))
        return (1 + self.n - below) / (self.n + 1)

    def verdict(self, score: float) -> Verdict:
        """What to do with a part of this score."""
        if score > self.threshold:
            return "reject"
        return "review" if score > self.review_threshold else "ok"

    def to_payload(self) -> dict[str, Any]:
        """The form kept in the catalog."""
        return {
            "scores": list(self.scores),
            "alpha_reject": self.alpha_reject,
            "alpha_review": self.alpha_review,
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Calibration:
        """Inverse of ``to_payload``."""
        # scores are float32; the embedded engine rounds the last bit of a double in a payload
        return cls(
            tuple(float(np.float32(s)) for s in payload["scores"]),
            float(payload["alpha_reject"]),
            float(payload["alpha_review"]),
        )

    def _threshold(self, alpha: float) -> float:
        # p <= alpha allows at most rank - 1 calibration scores at or above
        return self.scores[self.n - conformal_rank(alpha, self.n)]


def conformal_rank(alpha: float, n: int) -> int:
    """Which of n calibration scores, from the top, is the threshold of ``alpha``; 0 for none."""
    return math.floor(alpha * (n + 1) + _ROUNDING)


def images_needed(alpha: float) -> int:
    """Calibration images without which no p-value can be as small as ``alpha``."""
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def calibrate(
    scores: Sequence[float],
    *,
    alpha_reject: float | None = None,
    alpha_review: float | None = None,
) -> Calibration:
    """Calibration from held-out normal ``scores`` (n,), n >= 1, finite float32 values.

    Without a wish ``alpha_reject`` is the larger of 1 % and 1/(n + 1), the smallest that n
    supports, and ``alpha_review`` the larger of 5 % and 2/(n + 1).

    Raises:
        CalibrationError: n cannot support a level that was asked for, or scores are not finite.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(values).all():
        raise CalibrationError("a calibration score is not finite: check the weight file.")
    reject, review = supported_levels(len(values), alpha_reject, alpha_review)
    return Calibration(tuple(values.tolist()), reject, review)


def supported_levels(
    n: int, alpha_reject: float | None, alpha_review: float | None
) -> tuple[float, float]:
    """The two levels in force with n calibration images; CalibrationError if one is impossible."""
    if n < 1:
        raise CalibrationError(
            "no calibration image is left: add normal images or raise --holdout."
        )
    smallest = 1 / (n + 1)
    for flag, alpha in (("--reject", alpha_reject), ("--review", alpha_review)):
        if alpha is None:
            continue
        if not 0 < alpha < 1:
            raise CalibrationError(
                f"{flag} is a false-reject rate between 0 and 1, got {alpha:g}. "
                f"For example {flag} 0.01."
            )
        if n < images_needed(alpha):
            raise CalibrationError(
                f"{flag} {alpha:g} needs at least {images_needed(alpha)} calibration images, there "
                f"are {n}. Add normal images, raise --holdout, or ask for {smallest:.4g} or more."
            )
    reject = alpha_reject if alpha_reject is not None else max(DEFAULT_REJECT, smallest)
    if alpha_review is not None and alpha_review < reject:
        raise CalibrationError(
            f"--review {alpha_review:g} must be at least the reject level, {reject:.4g}."
        )
    if alpha_review is not None:
        return reject, alpha_review
    return reject, max(reject, min(max(DEFAULT_REVIEW, 2 * smallest), n * smallest))


@dataclass(frozen=True, slots=True)
class ConformalCalibrator:
    """Split conformal calibration for ``build_index``; None leaves a level to ``calibrate``."""

    alpha_reject: float | None = None
    alpha_review: float | None = None

    def check(self, images: int) -> None:
        """CalibrationError if ``images`` calibration images cannot support the levels."""
        supported_levels(images, self.alpha_reject, self.alpha_review)

    def scorer(
        self, store: VectorStore, entry: CatalogEntry, bank: MemoryBank
    ) -> Callable[[ImageFeatures], float]:
        """Image score from features, as ``Inspector`` gives it."""
        if entry.spec.level == "image":
            return lambda image: neighbors_score(nearest_normal_images(store, entry, image.image))
        index = ExactIndex(bank.vectors)
        return lambda image: image_score(patch_distances(image.patches, index).distances)

    def calibrate(self, scores: Sequence[float]) -> dict[str, Any]:
        """The catalog's calibration payload."""
        return calibrate(
            scores, alpha_reject=self.alpha_reject, alpha_review=self.alpha_review
        ).to_payload()


def change_levels(
    store: VectorStore,
    entry: CatalogEntry,
    *,
    alpha_reject: float | None = None,
    alpha_review: float | None = None,
) -> CatalogEntry:
    """Apply other levels to the stored calibration scores; needs no image.

    The bank and its scores stay as they are, and so does the revision. Writes only on a change.
    """
    scores = Calibration.from_payload(entry.calibration).scores
    calibration = calibrate(scores, alpha_reject=alpha_reject, alpha_review=alpha_review)
    changed = replace(entry, calibration=calibration.to_payload())
    if changed != entry:
        write_entry(store, changed)
    return changed
