"""Split conformal prediction: ranks among held-out normal images.

Vovk, Gammerman and Shafer 2005; Bates et al. 2023 for outlier detection. For a part drawn like the
calibration images, p = (1 + #{calibration >= s}) / (n + 1) falls to alpha or below with probability
at most alpha. So alpha is the false-reject rate, and no defect is needed to choose it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.calibration.base import conformal_rank
from indexer.catalog.entry import LayoutName


class Conformal:
    """Split conformal: ranks among held-out scores; the false-reject rate is at most alpha."""

    name = "conformal"
    layout: LayoutName = "holdout"
    bound: float | None = 1.0

    def check(self, scores: int, synthetic: int | None) -> None:
        """Accept any number of images: each level states how many it requires."""

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """Score above which images are rejected at the level ``alpha``."""
        return self.level(scores, alpha)

    def level(self, scores: Sequence[float], alpha: float) -> float:
        """Value that normal images exceed at the rate ``alpha``, for values of any kind.

        At p <= alpha, at most rank - 1 calibration scores are as high or higher.
        """
        return scores[len(scores) - max(1, conformal_rank(alpha, len(scores)))]

    def p_value(self, scores: Sequence[float], score: float) -> float:
        """Share of normal images expected to score this high or higher."""
        below = int(np.searchsorted(scores, score, side="left"))
        return (1 + len(scores) - below) / (len(scores) + 1)
