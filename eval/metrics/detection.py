"""Image-level figures of merit, as scikit-learn and SciPy compute them.

Scores are raw (never clamped, squashed or rescaled); larger means worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from eval.arrays import Float64


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve; nan if only one class is present.

    `labels` (N,) bool, True = defective; `scores` (N,) raw image scores. ValueError when a
    score is not finite or the shapes disagree.
    """
    return float(_where_defined(sklearn_metrics.roc_auc_score, labels, scores))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision, the sum of (R_n - R_{n-1}) P_n; arguments and errors of `image_auroc`."""
    return float(_where_defined(sklearn_metrics.average_precision_score, labels, scores, math.nan))


def roc_points(labels: ArrayLike, scores: ArrayLike) -> tuple[Float64, Float64]:
    """False-positive and true-positive rates (T,) of every threshold, for a plot.

    Empty when only one class is present. Arguments and errors of `image_auroc`.
    """
    x, y, _ = _where_defined(sklearn_metrics.roc_curve, labels, scores, _NO_CURVE)
    return x, y


def pr_points(labels: ArrayLike, scores: ArrayLike) -> tuple[Float64, Float64]:
    """Recall and precision (T,) of every threshold; as `roc_points`."""
    y, x, _ = _where_defined(sklearn_metrics.precision_recall_curve, labels, scores, _NO_CURVE)
    return x, y


def f1_max(labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Largest F1 over all thresholds, and the threshold (score >= threshold) that reaches it.

    An oracle: the threshold is chosen on the test labels, so no deployed system attains it. Of
    several thresholds with the same F1 the highest is given. (nan, nan) when only one class is
    present. Arguments and errors of `image_auroc`.
    """
    curve = _where_defined(sklearn_metrics.precision_recall_curve, labels, scores, _NO_CURVE)
    precision, recall, thresholds = curve
    if not len(thresholds):
        return math.nan, math.nan
    total = np.maximum(precision + recall, np.finfo(np.float64).tiny)
    f1 = (2 * precision * recall / total)[:-1]  # the last point has no threshold
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return float(f1[best]), float(thresholds[best])


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of `successes` in `n` trials, stored as counts so that its uncertainty is known."""

    successes: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.n:
            raise ValueError(f"expected 0 <= successes <= n, got {self.successes} of {self.n}")

    @property
    def value(self) -> float:
        """The observed rate in [0, 1]; nan for n = 0."""
        return self.successes / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval (Wilson 1927); (0, 1) for n = 0."""
        if not self.n:
            return 0.0, 1.0
        found = binomtest(self.successes, self.n).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


_NO_CURVE = (np.zeros(0), np.zeros(0), np.zeros(0))


def _where_defined(
    metric: Callable[..., Any], labels: ArrayLike, scores: ArrayLike, otherwise: Any = math.nan
) -> Any:
    """The metric if both classes are present; otherwise ``otherwise``."""
    truth = np.asarray(labels, dtype=np.bool_)
    values = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(
            f"labels and scores must both have shape (N,), got {truth.shape} and {values.shape}"
        )
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"scores must be finite, got {values[first]} at position {first}")
    return metric(truth, values) if truth.any() and not truth.all() else otherwise
