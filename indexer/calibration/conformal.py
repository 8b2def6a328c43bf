"""Split conformal prediction: ranks among held-out normal images.

Vovk, Gammerman and Shafer 2005; Bates et al. 2023 for outlier detection. For a part drawn like the
calibration images, p = (1 + #{calibration >= s}) / (n + 1) falls to alpha or below with probability
at most alpha. So alpha is the false-reject rate, chosen without a defect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.calibration.base import conformal_rank
from indexer.catalog.entry import LayoutName


class Conformal:
    """Ranks among held-out scores; the false-reject rate is at most alpha, exactly."""

    name = "conformal"
    layout: LayoutName = "holdout"
    bound: float | None = 1.0

    def check(self, scores: int, synthetic: int | None) -> None:
        """Nothing to refuse: the levels say how many scores they take."""

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """See `CalibrationMethod`."""
        return self.level(scores, alpha)

    def level(self, scores: Sequence[float], alpha: float) -> float:
        """See `CalibrationMethod`: p <= alpha allows rank - 1 scores at or above at most."""
        return scores[len(scores) - max(1, conformal_rank(alpha, len(scores)))]

    def p_value(self, scores: Sequence[float], score: float) -> float:
        """See `CalibrationMethod`."""
        below = int(np.searchsorted(scores, score, side="left"))
        return (1 + len(scores) - below) / (len(scores) + 1)
