"""Figures of merit. Scores come in raw (never clamped, squashed or rescaled); larger = worse.

Image metrics are scikit-learn's. Pixel metrics stream over images in bounded memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from sklearn import metrics as sklearn_metrics

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

# Two float32 values share a bin when their exponent and upper 13 mantissa bits agree.
_DROPPED_BITS = 10
_BINS = 0x7F800000 >> _DROPPED_BITS  # bit pattern of +inf: every finite value lies below
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int64)


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve; nan when only one class is present.

    `labels` (N,) bool, True = defective; `scores` (N,) raw image scores. ValueError when a
    score is not finite or the shapes disagree.
    """
    truth, values = _checked(labels, scores)
    return float(sklearn_metrics.roc_auc_score(truth, values)) if _both(truth) else math.nan


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision, sum of (R_n - R_{n-1}) P_n; arguments and errors of `image_auroc`."""
    truth, values = _checked(labels, scores)
    if not _both(truth):
        return math.nan
    return float(sklearn_metrics.average_precision_score(truth, values))


def roc_points(labels: ArrayLike, scores: ArrayLike) -> tuple[Float64, Float64]:
    """False-positive and true-positive rates (T,) of every threshold, for a plot.

    Empty when only one class is present. Arguments and errors of `image_auroc`.
    """
    truth, values = _checked(labels, scores)
    if not _both(truth):
        return np.zeros(0), np.zeros(0)
    false_positives, true_positives, _ = sklearn_metrics.roc_curve(truth, values)
    return false_positives, true_positives


def pr_points(labels: ArrayLike, scores: ArrayLike) -> tuple[Float64, Float64]:
    """Recall and precision (T,) of every threshold; as `roc_points`."""
    truth, values = _checked(labels, scores)
    if not _both(truth):
        return np.zeros(0), np.zeros(0)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(truth, values)
    return recall, precision


def f1_max(labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Largest F1 over all thresholds and the threshold (score >= threshold) that reaches it.

    An oracle: the threshold is chosen on the test labels, so no deployed system attains it.
    Of equal F1 the highest threshold is named. (nan, nan) when only one class is present.
    Arguments and errors of `image_auroc`.
    """
    truth, values = _checked(labels, scores)
    if not _both(truth):
        return math.nan, math.nan
    precision, recall, thresholds = sklearn_metrics.precision_recall_curve(truth, values)
    total = np.maximum(precision + recall, np.finfo(np.float64).tiny)
    f1 = (2 * precision * recall / total)[:-1]  # the last point has no threshold
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return float(f1[best]), float(thresholds[best])


class PixelMetrics:
    """Pixel AUROC and AU-PRO over any number of images of any sizes.

    Keeps three histograms over 2,088,960 bins (50 MB at most, whatever the number of pixels):
    normal pixels, defective pixels, and defective pixels weighted by 1 / area of their region.
    The last is enough for AU-PRO, because per-region overlap averaged over regions is a
    weighted share of defective pixels. The bins are the bit patterns of float32 without their
    10 lowest bits, which rise with the value.

    Error: each figure is exact for scores rounded down by less than 2**-13 (0.012 %) of their
    value (below 1.2e-38, by less than 1.5e-42). Pixels of one bin count as ties, so a figure
    differs from the unrounded one by at most half the area of the boxes the curve crosses in
    one bin each. `pixel_auroc_error` and `au_pro_error` return that bound for the data seen.
    """

    def __init__(self) -> None:
        self._normal: Int64 = np.zeros(_BINS, dtype=np.int64)
        self._defective: Int64 = np.zeros(_BINS, dtype=np.int64)
        self._regions: Float64 = np.zeros(_BINS, dtype=np.float64)

    def update(self, anomaly_map: Float32, mask: Bool) -> None:
        """Add one image: its (H, W) float32 map of distances and its (H, W) bool mask.

        True in the mask is defective, a normal image has an all-False mask; its connected
        components (8 neighbours) are the regions. ValueError for a wrong dtype or shape, or a
        distance that is negative or not finite.
        """
        keys = _bins_of(anomaly_map)
        if mask.dtype != np.bool_ or mask.shape != anomaly_map.shape:
            raise ValueError(
                f"mask must be bool with shape {anomaly_map.shape}, got {mask.dtype} {mask.shape}"
            )
        _add_counts(self._normal, keys[~mask])
        inside = keys[mask]
        _add_counts(self._defective, inside)
        regions, _ = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
        region_of_pixel = regions[mask]
        areas = np.bincount(region_of_pixel)
        np.add.at(self._regions, inside, 1.0 / areas[region_of_pixel])

    def pixel_auroc(self) -> float:
        """Area under the ROC curve over all pixels; nan without normal or defective pixels."""
        return _area(self._normal, self._defective, limit=1.0)[0]

    def pixel_auroc_error(self) -> float:
        """Upper bound of |pixel_auroc - value on unrounded scores|."""
        return _area(self._normal, self._defective, limit=1.0)[1]

    def au_pro(self, limit: float = 0.3) -> float:
        """Area under the per-region overlap curve, in [0, 1]; nan without regions.

        Per-region overlap, averaged over the regions of all masks, is integrated over the
        false-positive rate of all normal pixels from 0 to `limit` (linear between points) and
        divided by `limit`. Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021.
        ValueError for a limit outside (0, 1].
        """
        return _area(self._normal, self._regions, limit)[0]

    def au_pro_error(self, limit: float = 0.3) -> float:
        """Upper bound of |au_pro(limit) - value on unrounded scores|."""
        return _area(self._normal, self._regions, limit)[1]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a binomial rate (Wilson 1927); (0, 1) for n = 0.

    ValueError unless 0 <= successes <= n and 0 < confidence < 1.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = rate + z * z / (2 * n)
    half_width = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half_width) / scale
    high = 1.0 if successes == n else (centre + half_width) / scale
    return low, high


@dataclass(frozen=True, slots=True)
class Rate:
    """`successes` of `n` trials, kept as counts so that the uncertainty travels along."""

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
        """The 95 % Wilson interval."""
        return wilson_interval(self.successes, self.n)


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Bool, Float64]:
    truth = np.asarray(labels, dtype=np.bool_)
    values = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(
            f"labels and scores must both have shape (N,), got {truth.shape} and {values.shape}"
        )
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"scores must be finite, got {values[first]} at position {first}")
    return truth, values


def _both(truth: Bool) -> bool:
    return bool(truth.any() and not truth.all())


def _bins_of(anomaly_map: Float32) -> NDArray[np.uint32]:
    """(H, W) bin of each pixel; ValueError for maps outside what `PixelMetrics` accepts."""
    if anomaly_map.dtype != np.float32 or anomaly_map.ndim != 2:
        raise ValueError(
            "anomaly map must be float32 with shape (H, W), "
            f"got {anomaly_map.dtype} {anomaly_map.shape}"
        )
    if not (np.isfinite(anomaly_map) & (anomaly_map >= 0)).all():
        raise ValueError(
            "anomaly map must hold finite distances >= 0, "
            f"got values from {anomaly_map.min()} to {anomaly_map.max()}"
        )
    non_negative = np.abs(anomaly_map)  # -0.0 has the sign bit set
    patterns: NDArray[np.uint32] = np.ascontiguousarray(non_negative).view(np.uint32)
    return patterns >> np.uint32(_DROPPED_BITS)


def _add_counts(histogram: Int64, keys: NDArray[np.uint32]) -> None:
    """Add one per key, through a histogram as long as the range of the keys only."""
    if keys.size:
        lowest = int(keys.min())
        counts = np.bincount(keys - np.uint32(lowest))
        histogram[lowest : lowest + len(counts)] += counts


def _area(false_alarms: Int64, hits: Int64 | Float64, limit: float) -> tuple[float, float]:
    """Normalised area under hits over false alarms up to `limit`, and its rounding error bound.

    Both are histograms over rising scores. Within a bin the unrounded curve rises somehow
    through the box that the straight line cuts in half, so it is off by at most half the box;
    by the whole box where `limit` cuts it.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"the false-positive limit must lie in (0, 1], got {limit}")
    if not false_alarms.any() or not hits.any():
        return math.nan, math.nan
    used = np.flatnonzero((false_alarms > 0) | (hits > 0))[::-1]  # from the highest score down
    x = np.cumsum(np.concatenate(([0], false_alarms[used])), dtype=np.float64)
    y = np.cumsum(np.concatenate(([0], hits[used])), dtype=np.float64)
    x, y = x / x[-1], y / y[-1]
    whole = int(np.searchsorted(x, limit, side="right"))  # points at or left of the limit
    area = float(np.trapezoid(y[:whole], x[:whole]))
    error = float(np.diff(x[:whole]) @ np.diff(y[:whole])) / 2
    if x[whole - 1] < limit:
        width = limit - float(x[whole - 1])
        rise = float(y[whole] - y[whole - 1])
        share = width / float(x[whole] - x[whole - 1])
        area += width * (float(y[whole - 1]) + share * rise / 2)
        error += width * rise
    return area / limit, error / limit
