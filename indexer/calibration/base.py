"""Scores of normal images become p-values, thresholds and verdicts.

How they do is up to a calibration method; `indexer.calibration.methods` lists those there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from backbones.errors import VecspectError
from indexer.catalog.entry import LayoutName

Verdict = Literal["ok", "review", "reject"]
DEFAULT_REJECT = 0.01
DEFAULT_REVIEW = 0.05
_ROUNDING = 1e-9


class CalibrationError(VecspectError):
    """The calibration images cannot support what is asked of them."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The false-reject rates of a calibration; None where the number of images is to decide."""

    reject: float | None = None
    review: float | None = None


SUPPORTED_LEVELS = Levels()
"""The levels that the number of calibration images supports."""


class CalibrationMethod(Protocol):
    """How scores of normal images become p-values and thresholds."""

    @property
    def name(self) -> str:
        """The word users type."""

    @property
    def layout(self) -> LayoutName:
        """How the normal images of a category learnt by it are divided."""

    @property
    def bound(self) -> float | None:
        """The false-reject rate is at most this many times alpha; None if nothing bounds it."""

    def check(self, scores: int, synthetic: int | None) -> None:
        """CalibrationError if so many calibration and synthetic scores are not enough.

        Args:
            synthetic: None while the category has none because it is not learnt yet.
        """

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """The score above which normal images are rejected at the level ``alpha``.

        Args:
            scores: (n,) of normal images, ascending.
            synthetic: of synthetic defects, ascending; may be empty.
        """

    def level(self, scores: Sequence[float], alpha: float) -> float:
        """The value that normal images exceed at the rate ``alpha``, whatever the values are."""

    def p_value(self, scores: Sequence[float], score: float) -> float:
        """Share of normal images expected to score this high or higher."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What n normal images say of a score, and the two false-reject rates.

    A score is rejected when its p-value is at most ``alpha_reject``, else sent to review when it
    is at most ``alpha_review``; of ``synthetic-f1`` when it lies above the threshold.

    Attributes:
        scores: of the n normal images, ascending; none of them is in the bank it was scored by.
        method: how p-values and thresholds are made of them.
        peaks: largest value of each one's anomaly map, ascending; empty for an image-level
            backbone.
        synthetic: scores of synthetic defects on them, ascending; may be empty.
        requested: the two levels as they were asked for.
    """

    scores: tuple[float, ...]
    alpha_reject: float
    alpha_review: float
    method: CalibrationMethod
    peaks: tuple[float, ...] = ()
    synthetic: tuple[float, ...] = ()
    requested: Levels = SUPPORTED_LEVELS

    @property
    def n(self) -> int:
        """Number of calibration images."""
        return len(self.scores)

    @property
    def bound(self) -> float | None:
        """The false-reject rate is at most this many times alpha; None if nothing bounds it."""
        return self.method.bound

    @property
    def smallest_alpha(self) -> float:
        """The smallest level that n supports; 0 for a method that takes any."""
        return 0.0 if self.bound is None else 1 / (self.n + 1)

    @property
    def threshold(self) -> float:
        """The score above which images are rejected, and no other."""
        return self.method.threshold(self.scores, self.alpha_reject, self.synthetic)

    @property
    def review_threshold(self) -> float:
        """The score above which images are sent to review or rejected, and no other."""
        return min(self.threshold, self.method.level(self.scores, self.alpha_review))

    @property
    def map_threshold(self) -> float:
        """Normal images have no pixel above this in their anomaly map, but for ``alpha_reject``."""
        return self.method.level(self.peaks or self.scores, self.alpha_reject)

    def p_value(self, score: float) -> float:
        """Share of normal images expected to score this high or higher."""
        return self.method.p_value(self.scores, score)

    def verdict(self, score: float) -> Verdict:
        """What to do with an image of this score."""
        if score > self.threshold:
            return "reject"
        return "review" if score > self.review_threshold else "ok"


def conformal_rank(alpha: float, n: int) -> int:
    """Which of n calibration scores, from the top, is the threshold of ``alpha``; 0 for none."""
    return math.floor(alpha * (n + 1) + _ROUNDING)


def images_needed(alpha: float) -> int:
    """Calibration images without which no p-value can be as small as ``alpha``."""
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def supported_levels(n: int, method: CalibrationMethod, levels: Levels) -> tuple[float, float]:
    """The two levels in force with n calibration images; CalibrationError if one is impossible.

    What was not asked for is the larger of 1 % and 1/(n + 1), the smallest that n supports, to
    reject, and the larger of 5 % and 2/(n + 1) to review.
    """
    if n < 1:
        raise CalibrationError(
            "no calibration image is left: add normal images or raise --holdout."
        )
    smallest = 1 / (n + 1)
    floor = smallest if method.bound is not None else 0.0
    for flag, alpha in (("--reject", levels.reject), ("--review", levels.review)):
        if alpha is None:
            continue
        if not 0 < alpha < 1:
            raise CalibrationError(
                f"{flag} is a false-reject rate between 0 and 1, got {alpha:g}. "
                f"For example {flag} 0.01."
            )
        if floor and n < images_needed(alpha):
            raise CalibrationError(
                f"{flag} {alpha:g} needs at least {images_needed(alpha)} calibration images, there "
                f"are {n}. Add normal images, raise --holdout, or ask for {smallest:.4g} or more."
            )
    reject = levels.reject if levels.reject is not None else max(DEFAULT_REJECT, floor)
    if levels.review is not None and levels.review < reject:
        raise CalibrationError(
            f"--review {levels.review:g} must be at least the reject level, {reject:.4g}."
        )
    if levels.review is not None:
        return reject, levels.review
    least_review = min(max(DEFAULT_REVIEW, 2 * floor), n * smallest if floor else 1.0)
    return reject, max(reject, least_review)


def ascending(scores: Sequence[float]) -> tuple[float, ...]:
    """Scores in ascending order; CalibrationError if one is not finite."""
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(values).all():
        raise CalibrationError("a calibration score is not finite: check the weight file.")
    return tuple(values.tolist())
