"""Calibrations turn the scores of normal images into p-values, thresholds and verdicts.

The calibration method decides how; `indexer.calibration.methods` lists all methods.
"""

from __future__ import annotations

import functools
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
    """Raised when the calibration images cannot support the requested levels."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The two false-reject rates of a calibration; None lets the number of images decide."""

    reject: float | None = None
    review: float | None = None


SUPPORTED_LEVELS = Levels()
"""Default levels, which the number of calibration images sets."""


class CalibrationMethod(Protocol):
    """A way to turn scores of normal images into p-values and thresholds."""

    @property
    def name(self) -> str:
        """The name users type."""

    @property
    def layout(self) -> LayoutName:
        """The layout that divides the normal images of a category learnt with this method."""

    @property
    def bound(self) -> float | None:
        """Factor of alpha that the false-reject rate never exceeds; None if there is no bound."""

    def check(self, scores: int, synthetic: int | None) -> None:
        """Raise CalibrationError if there are too few calibration or synthetic scores.

        Args:
            synthetic: number of synthetic scores; None for a category that is not learnt yet.
        """

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """Score above which images are rejected at the level ``alpha``.

        Args:
            scores: (n,) scores of normal images, ascending.
            synthetic: scores of synthetic defects, ascending; may be empty.
        """

    def level(self, scores: Sequence[float], alpha: float) -> float:
        """Value that normal images exceed at the rate ``alpha``, for values of any kind."""

    def p_value(self, scores: Sequence[float], score: float) -> float:
        """Share of normal images expected to score this high or higher."""


@dataclass(frozen=True)
class Calibration:
    """The scores of n normal images, the method that interprets them, and the levels in force.

    An image is rejected if the p-value of its score is at most ``alpha_reject``, otherwise sent to
    review if it is at most ``alpha_review``; with ``synthetic-f1`` it is rejected if its score lies
    above the threshold.

    Attributes:
        scores: scores of the n normal images, ascending; none was scored by a bank that holds it.
        method: name of the calibration method.
        peaks: largest value of each image's anomaly map, ascending; empty for an image-level
            backbone.
        synthetic: scores of synthetic defects on these images, ascending; may be empty.
        requested: the two levels as requested.
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
        """Factor of alpha that the false-reject rate never exceeds; None if there is no bound."""
        return self.method.bound

    @property
    def smallest_alpha(self) -> float:
        """The smallest level that n images support; 0 for a method without such a limit."""
        return 0.0 if self.bound is None else smallest_level(self.n)

    @functools.cached_property
    def threshold(self) -> float:
        """Score above which images are rejected."""
        return self.method.threshold(self.scores, self.alpha_reject, self.synthetic)

    @functools.cached_property
    def review_threshold(self) -> float:
        """Score above which images are sent to review or rejected."""
        return min(self.threshold, self.method.level(self.scores, self.alpha_review))

    @property
    def map_threshold(self) -> float:
        """Anomaly-map level that a normal image exceeds at the rate ``alpha_reject``."""
        return self.method.level(self.peaks or self.scores, self.alpha_reject)

    def p_value(self, score: float) -> float:
        """Share of normal images expected to score this high or higher."""
        return self.method.p_value(self.scores, score)

    def verdict(self, score: float) -> Verdict:
        """The verdict on an image of this score."""
        if score > self.threshold:
            return "reject"
        return "review" if score > self.review_threshold else "ok"


def conformal_rank(alpha: float, n: int) -> int:
    """Rank, from the top, of the calibration score that is the threshold; 0 for none."""
    return math.floor(alpha * (n + 1) + _ROUNDING)


def smallest_level(n: int) -> float:
    """The smallest false-reject rate that n calibration images support: 1 / (n + 1)."""
    return 1 / (n + 1)


_CHOICES = 500
"""Levels to choose from, at most."""


def levels_to_choose(calibration: Calibration) -> list[float]:
    """False-reject rates up to a half, ascending, that give different thresholds.

    Those that n supports, and beside them the two in force; a method without bound takes any.
    """
    n = calibration.n
    steps = n + 1 if calibration.bound is not None else 2 * _CHOICES
    ranks = range(1, max(1, steps // 2) + 1)
    supported = {rank / steps for rank in ranks[:: -(-len(ranks) // _CHOICES)]}
    return sorted(supported | {calibration.alpha_reject, calibration.alpha_review})


def images_needed(alpha: float) -> int:
    """Smallest number of calibration images with which a p-value can be as small as ``alpha``."""
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def supported_levels(n: int, method: CalibrationMethod, levels: Levels) -> tuple[float, float]:
    """The two levels in force with n calibration images; CalibrationError if one is impossible.

    By default the reject level is the larger of 1 % and 1/(n + 1), the smallest that n images
    support, and the review level the larger of 5 % and 2/(n + 1).
    """
    if n < 1:
        raise CalibrationError(
            "no calibration image is left: add normal images or raise --holdout."
        )
    smallest = smallest_level(n)
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
                f"{flag} {alpha:g} needs at least {images_needed(alpha)} calibration images, got "
                f"{n}. Add normal images, raise --holdout, or request {smallest:.4g} or more."
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
    """Scores sorted in ascending order; CalibrationError if one is not finite."""
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(values).all():
        raise CalibrationError("a calibration score is not finite: check the weight file.")
    return tuple(values.tolist())
