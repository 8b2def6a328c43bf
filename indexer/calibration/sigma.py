"""Mean and deviations, as if normal scores had a normal distribution; no bound holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from indexer.calibration.base import CalibrationError
from indexer.catalog.entry import LayoutName


class Sigma:
    """p = 1 - Phi((s - mean) / deviation); nothing bounds the false-reject rate."""

    name = "sigma"
    layout: LayoutName = "holdout"
    bound: float | None = None

    def check(self, scores: int, synthetic: int | None) -> None:
        """CalibrationError if there is no deviation to measure."""
        check_two(self.name, scores)

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """See `CalibrationMethod`."""
        return self.level(scores, alpha)

    def level(self, scores: Sequence[float], alpha: float) -> float:
        """See `CalibrationMethod`."""
        mean, deviation = _moments(scores)
        return mean + deviation * NormalDist().inv_cdf(1 - alpha)

    def p_value(self, scores: Sequence[float], score: float) -> float:
        """See `CalibrationMethod`."""
        mean, deviation = _moments(scores)
        return math.erfc((score - mean) / deviation / math.sqrt(2)) / 2


def check_two(name: str, scores: int) -> None:
    """CalibrationError if there are fewer than two scores."""
    if scores == 1:
        raise CalibrationError(
            f"{name} needs at least 2 calibration images, there is 1. "
            "Add normal images or raise --holdout."
        )


def _moments(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), max(float(np.std(values, ddof=1)), 1e-12)
