"""The threshold that best separates normal images from synthetic defects; no bound holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.calibration.base import CalibrationError
from indexer.calibration.conformal import Conformal
from indexer.calibration.sigma import check_two


class SyntheticF1(Conformal):
    """Threshold of the best F1 at equal shares; nothing bounds the false-reject rate."""

    name = "synthetic-f1"
    bound: float | None = None

    def check(self, scores: int, synthetic: int | None) -> None:
        """Raise CalibrationError without synthetic defects, which need a learnt category."""
        check_two(self.name, scores)
        if synthetic is None:
            raise CalibrationError(
                "synthetic-f1 needs a learnt category: learn with conformal, then "
                "vecspect calibrate --calibration synthetic-f1"
            )
        if not synthetic:
            raise CalibrationError(
                "synthetic-f1 needs the scores of synthetic defects, and there are none. Learn "
                "with another method first, then: vecspect calibrate --calibration synthetic-f1"
            )

    def threshold(self, scores: Sequence[float], alpha: float, synthetic: Sequence[float]) -> float:
        """Score above which images are rejected; ``alpha`` has no influence."""
        return best_f1_threshold(scores, synthetic)


def best_f1_threshold(normal: Sequence[float], defective: Sequence[float]) -> float:
    """Score above which rejecting gives the largest F1, both classes weighted equally."""
    candidates = np.unique([*normal, *defective])
    passed = np.searchsorted(np.sort(normal), candidates, side="right") / len(normal)
    missed = np.searchsorted(np.sort(defective), candidates, side="right") / len(defective)
    caught, rejected = 1 - missed, 1 - passed
    return float(candidates[int(np.argmax(2 * caught / (1 + caught + rejected)))])
