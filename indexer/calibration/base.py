"""Scores of normal images become p-values, thresholds and verdicts, by one of four methods.

conformal: split conformal prediction (Vovk et al. 2005; Bates et al. 2023 for outlier detection)
on held-out images. For a part drawn like the calibration parts, p = (1 + #{calibration >= s}) /
(n + 1) falls to alpha or below with probability at most alpha. So alpha is the false-reject rate,
chosen without a defect.

cross-conformal: the same rank among leave-one-out scores, every normal image measured against a
memory bank that knows nothing of it (Vovk 2015; the jackknife+ of Barber et al. 2021, theorem 1).
At worst 2 alpha, usually about alpha. They compare the new part with each of the n banks; it is
measured here against the union of them all, where no distance is larger, so no p-value smaller.

sigma: p = 1 - Phi((s - mean) / deviation), as if normal scores had a normal distribution.

synthetic-f1: rejects above the score that best parts normal images from made-up defects, by F1 at
equal shares of both. The two have no bound on the false-reject rate and are no default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.errors import VecspectError

Float32 = NDArray[np.float32]
Verdict = Literal["ok", "review", "reject"]
Method = Literal["conformal", "cross-conformal", "sigma", "synthetic-f1"]
METHODS: tuple[Method, ...] = ("conformal", "cross-conformal", "sigma", "synthetic-f1")
DEFAULT_REJECT = 0.01
DEFAULT_REVIEW = 0.05
_ROUNDING = 1e-9


class CalibrationError(VecspectError):
    """The calibration images cannot support what is asked of them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What n normal images say of a score, and the two false-reject rates.

    A score is rejected when its p-value is at most ``alpha_reject``, else sent to review when it
    is at most ``alpha_review``; of ``synthetic-f1`` when it lies above the threshold.

    Attributes:
        scores: of the n normal images, ascending; none of them is in the bank it was scored by.
        peaks: largest value of each one's anomaly map, ascending; empty for an image-level
            backbone.
        synthetic: scores of made-up defects on them, ascending; may be empty.
        wishes: the two levels as they were asked for, None where n was to decide.
    """

    scores: tuple[float, ...]
    alpha_reject: float
    alpha_review: float
    method: Method = "conformal"
    peaks: tuple[float, ...] = ()
    synthetic: tuple[float, ...] = ()
    wishes: tuple[float | None, float | None] = (None, None)

    @property
    def n(self) -> int:
        """Number of calibration images."""
        return len(self.scores)

    @property
    def bound(self) -> float | None:
        """The false-reject rate is at most this many times alpha; None if nothing bounds it."""
        return {"conformal": 1.0, "cross-conformal": 2.0}.get(self.method)

    @property
    def smallest_alpha(self) -> float:
        """The smallest level that n supports; 0 for a method that takes any."""
        return 0.0 if self.bound is None else 1 / (self.n + 1)

    @property
    def threshold(self) -> float:
        """Rejected are exactly the scores above this one."""
        if self.method == "synthetic-f1":
            return best_f1_threshold(self.scores, self.synthetic)
        return self._threshold(self.scores, self.alpha_reject)

    @property
    def review_threshold(self) -> float:
        """Sent to review or rejected are exactly the scores above this one."""
        if self.method == "synthetic-f1":
            return min(self.threshold, self._threshold(self.scores, self.alpha_review))
        return self._threshold(self.scores, self.alpha_review)

    @property
    def map_threshold(self) -> float:
        """Normal images have no pixel above this in their anomaly map, but for ``alpha_reject``."""
        return self._threshold(self.peaks or self.scores, self.alpha_reject)

    def p_value(self, score: float) -> float:
        """Share of normal parts expected to score this high or higher."""
        if self.method == "sigma":
            mean, deviation = _moments(self.scores)
            return math.erfc((score - mean) / deviation / math.sqrt(2)) / 2
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
            "method": self.method,
            "scores": list(self.scores),
            "peaks": list(self.peaks),
            "synthetic": list(self.synthetic),
            "wishes": list(self.wishes),
            "alpha_reject": self.alpha_reject,
            "alpha_review": self.alpha_review,
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Calibration:
        """Inverse of ``to_payload``."""
        # scores are float32; the embedded engine rounds the last bit of a double in a payload
        scores, peaks, synthetic = (
            tuple(float(np.float32(s)) for s in values)
            for values in (
                payload["scores"],
                payload["peaks"],
                payload["synthetic"],
            )
        )
        return cls(
            scores,
            float(payload["alpha_reject"]),
            float(payload["alpha_review"]),
            payload["method"],
            peaks,
            synthetic,
            (payload["wishes"][0], payload["wishes"][1]),
        )

    def _threshold(self, values: Sequence[float], alpha: float) -> float:
        if self.method == "sigma":
            mean, deviation = _moments(values)
            return mean + deviation * NormalDist().inv_cdf(1 - alpha)
        # p <= alpha allows at most rank - 1 calibration scores at or above
        return values[self.n - max(1, conformal_rank(alpha, self.n))]


def _moments(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), max(float(np.std(values, ddof=1)), 1e-12)


def best_f1_threshold(normal: Sequence[float], defective: Sequence[float]) -> float:
    """The score above which rejecting gives the largest F1, as if both were equally frequent."""
    candidates = np.unique([*normal, *defective])
    passed = np.searchsorted(np.sort(normal), candidates, side="right") / len(normal)
    missed = np.searchsorted(np.sort(defective), candidates, side="right") / len(defective)
    caught, rejected = 1 - missed, 1 - passed
    return float(candidates[int(np.argmax(2 * caught / (1 + caught + rejected)))])


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
    method: Method = "conformal",
    peaks: Sequence[float] = (),
    synthetic: Sequence[float] = (),
) -> Calibration:
    """Calibration from ``scores`` (n,) of normal images, n >= 1, finite float32 values.

    Without a wish ``alpha_reject`` is the larger of 1 % and 1/(n + 1), the smallest that n
    supports, and ``alpha_review`` the larger of 5 % and 2/(n + 1).

    Raises:
        CalibrationError: n cannot support a level that was asked for, scores are not finite, or
            the method lacks what it needs.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(values).all():
        raise CalibrationError("a calibration score is not finite: check the weight file.")
    reject, review = supported_levels(len(values), alpha_reject, alpha_review, method)
    if method == "synthetic-f1" and not len(synthetic):
        raise CalibrationError(
            "synthetic-f1 needs the scores of made-up defects, there are none. "
            "Learn by another method first, then: vecspect calibrate --method synthetic-f1"
        )
    return Calibration(
        tuple(values.tolist()),
        reject,
        review,
        method,
        tuple(sorted(peaks)),
        tuple(sorted(synthetic)),
        (alpha_reject, alpha_review),
    )


def supported_levels(
    n: int,
    alpha_reject: float | None,
    alpha_review: float | None,
    method: Method = "conformal",
) -> tuple[float, float]:
    """The two levels in force with n calibration images; CalibrationError if one is impossible."""
    ranks = method in ("conformal", "cross-conformal")
    if n < 1:
        raise CalibrationError(
            "no calibration image is left: add normal images or raise --holdout."
        )
    if n < 2 and not ranks:
        raise CalibrationError(
            f"{method} needs at least 2 calibration images, there is 1. "
            "Add normal images or raise --holdout."
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
        if ranks and n < images_needed(alpha):
            raise CalibrationError(
                f"{flag} {alpha:g} needs at least {images_needed(alpha)} calibration images, there "
                f"are {n}. Add normal images, raise --holdout, or ask for {smallest:.4g} or more."
            )
    floor = smallest if ranks else 0.0
    reject = alpha_reject if alpha_reject is not None else max(DEFAULT_REJECT, floor)
    if alpha_review is not None and alpha_review < reject:
        raise CalibrationError(
            f"--review {alpha_review:g} must be at least the reject level, {reject:.4g}."
        )
    if alpha_review is not None:
        return reject, alpha_review
    if not ranks:
        return reject, max(reject, DEFAULT_REVIEW)
    return reject, max(reject, min(max(DEFAULT_REVIEW, 2 * smallest), n * smallest))
