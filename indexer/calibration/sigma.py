"""The sigma rule: mean and deviation, as if normal scores were normally distributed; no bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from indexer.calibration.base import CalibrationError
from indexer.catalog.entry import LayoutName


class Sigma:
    """Sigma rule: p = 1 - Phi((s - mean) / deviation); nothing bounds the false-reject rate."""

    name = "sigma"
    layout: LayoutName = "holdout"
    bound: float | None = None

    def check(self, scores: int, synthetic: int | None) -> None:
        """Raise CalibrationError if there are too few scores to measure a deviation."""
        check_two(self.name, scores)

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """Score above which images are rejected at the level ``alpha``."""
        return self.level(scores, alpha)

    def level(self, scores: Sequence[float], alpha: float) -> float:
        """Value that normal images exceed at the rate ``alpha``, for values of any kind."""
        mean, deviation = _moments(scores)
        return mean + deviation * NormalDist().inv_cdf(1 - alpha)

    def p_value(self, scores: Sequence[float], score: float) -> float:
        """Share of normal images expected to score this high or higher."""
        mean, deviation = _moments(scores)
        return math.erfc((score - mean) / deviation / math.sqrt(2)) / 2


def check_two(name: str, scores: int) -> None:
    """Raise CalibrationError if there are fewer than two scores."""
    if scores == 1:
        raise CalibrationError(
            f"{name} needs at least 2 calibration images, got 1. "
            "Add normal images or raise --holdout."
        )


def _moments(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), max(float(np.std(values, ddof=1)), 1e-12)
