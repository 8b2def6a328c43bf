"""Pixel AUROC and AU-PRO, streamed over images in bounded memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eval.arrays import Bool, Float32, Float64, Int64

# Two float32 values share a bin when their exponent and upper 13 mantissa bits agree.
_DROPPED_BITS = 10
_BINS = 0x7F800000 >> _DROPPED_BITS  # bit pattern of +inf: every finite value lies below
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int64)


class PixelMetrics:
    """Pixel AUROC and AU-PRO over any number of images of any sizes.

    Keeps three histograms over 2,088,960 bins (50 MB at most): normal pixels, defective pixels, and
    defective pixels weighted by 1 / area of their region. The last is enough for AU-PRO, because
    per-region overlap averaged over regions is a weighted share of defective pixels. The bins are
    the bit patterns of float32 without their 10 lowest bits, which increase with the value.

    Each figure is exact for scores rounded down by less than 2**-13 of their value (below 1.2e-38,
    by less than 1.5e-42). Pixels of one bin count as ties, so a figure differs from the unrounded
    one by at most half the area of the boxes the curve crosses in one bin each:
    `pixel_auroc_error` and `au_pro_error` return that bound for the data seen.
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
        np.add.at(self._normal, keys[~mask], 1)
        inside = keys[mask]
        np.add.at(self._defective, inside, 1)
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


def _bins_of(anomaly_map: Float32) -> NDArray[np.uint32]:
    """(H, W) bin of each pixel; ValueError for maps that `PixelMetrics` does not accept."""
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


def _area(false_alarms: Int64, hits: Int64 | Float64, limit: float) -> tuple[float, float]:
    """Normalised area under hits against false alarms up to `limit`, and its rounding error bound.

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
