from __future__ import annotations

import numpy as np
import pytest

from indexer.calibration.base import CalibrationError
from indexer.calibration.synthetic_f1 import best_f1_threshold
from tests.indexer.calibration.strategies import calibrate


def test_best_f1_threshold_is_the_best_of_all_there_are() -> None:
    rng = np.random.default_rng(3)
    normal, defective = rng.normal(0, 1, 60), rng.normal(1.5, 1, 30)

    def f1(threshold: float) -> float:
        caught, rejected = (defective > threshold).mean(), (normal > threshold).mean()
        return float(2 * caught / (1 + caught + rejected))

    best = best_f1_threshold(normal.tolist(), defective.tolist())
    assert f1(best) == max(f1(t) for t in [-9.0, *normal, *defective])


def test_threshold_is_that_of_best_f1_whatever_the_level() -> None:
    normal, synthetic = [1.0, 2.0, 3.0, 4.0], [3.5, 5.0, 6.0]
    for reject in (0.2, 0.4):
        calibration = calibrate(
            normal, reject=reject, review=0.9, method="synthetic-f1", synthetic=synthetic
        )
        assert calibration.threshold == best_f1_threshold(normal, synthetic) == 3.0
        assert calibration.verdict(3.2) == "reject"
        assert calibration.review_threshold <= calibration.threshold
        assert calibration.bound is None


def test_category_without_synthetic_defects_is_refused_with_what_to_do_first() -> None:
    with pytest.raises(CalibrationError, match="needs the scores of synthetic defects") as caught:
        calibrate([1.0, 2.0], method="synthetic-f1")
    assert "\n" not in str(caught.value)
    with pytest.raises(CalibrationError, match="synthetic-f1 needs at least 2"):
        calibrate([1.0], method="synthetic-f1", synthetic=[2.0])
