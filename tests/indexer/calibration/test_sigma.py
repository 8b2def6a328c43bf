from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.calibration.base import CalibrationError
from tests.indexer.calibration.strategies import calibrate


def test_sigma_p_value_is_the_normal_tail_and_takes_any_level() -> None:
    scores = np.random.default_rng(0).normal(5, 2, 4000).tolist()
    calibration = calibrate(scores, reject=0.001, review=0.02, method="sigma")
    assert calibration.p_value(9.0) == pytest.approx(0.0228, abs=0.004)
    assert calibration.threshold == pytest.approx(5 + 3.09 * 2, abs=0.2)
    assert calibration.verdict(calibration.threshold + 1e-6) == "reject"
    with pytest.raises(CalibrationError, match="sigma needs at least 2"):
        calibrate([1.0], method="sigma")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=30),
    st.floats(0.001, 0.9),
    st.floats(-200, 200),
)
def test_p_value_at_the_level_of_alpha_is_alpha_and_scores_may_be_scaled(
    scores: list[float], alpha: float, score: float
) -> None:
    scores = [*scores, min(scores) - 1, max(scores) + 1]  # or they might all be equal
    calibration = calibrate(scores, reject=alpha, review=0.95, method="sigma")
    assert calibration.p_value(calibration.threshold) == pytest.approx(alpha)
    tail = 1 - NormalDist(float(np.mean(scores)), float(np.std(scores, ddof=1))).cdf(score)
    assert calibration.p_value(score) == pytest.approx(tail, abs=1e-9)
    scaled = calibrate([3 * s + 5 for s in scores], reject=alpha, review=0.95, method="sigma")
    assert scaled.threshold == pytest.approx(3 * calibration.threshold + 5, rel=1e-6, abs=1e-6)


def test_scores_that_do_not_vary_still_part_what_lies_above() -> None:
    calibration = calibrate([2.0, 2.0, 2.0], method="sigma")
    assert (calibration.verdict(2.0), calibration.verdict(2.001)) == ("ok", "reject")
