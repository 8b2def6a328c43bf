from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from indexer.calibration.base import Calibration
from tests.indexer.calibration.strategies import TOLERANCE, calibrate, calibrations_and_scores


@settings(deadline=None, max_examples=200)
@given(calibrations_and_scores())
def test_p_value_is_one_plus_the_scores_at_least_as_high_over_n_plus_one(
    case: tuple[Calibration, float],
) -> None:
    calibration, score = case
    at_least = sum(s >= score for s in calibration.scores)
    assert calibration.p_value(score) == (1 + at_least) / (calibration.n + 1)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 19, 48, 99, 148])
def test_level_of_a_whole_number_of_ranks_is_not_lost_to_rounding(n: int) -> None:
    scores = list(range(n))
    for rank in range(1, n + 1):
        calibration = calibrate(scores, reject=rank / (n + 1), review=n / (n + 1))
        # p-values of the scores just above each calibration score are 1/(n+1), 2/(n+1), ...
        rejected = sum(calibration.verdict(s + 0.5) == "reject" for s in range(-1, n))
        assert rejected == rank


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (99, 0.05), (50, 0.1), (7, 0.3)])
@pytest.mark.parametrize("rounded", [False, True])
def test_false_reject_rate_over_many_draws_is_at_most_alpha(
    n: int, alpha: float, rounded: bool
) -> None:
    draws = 4000
    scores = np.random.default_rng(0).gamma(2.0, size=(draws, n + 1))
    if rounded:
        scores = np.round(scores, 1)
    rejected = sum(
        calibrate(row[:-1], reject=alpha, review=alpha).verdict(row[-1]) == "reject"
        for row in scores
    )
    sampling_error = 4 * math.sqrt(alpha * (1 - alpha) / draws)
    assert rejected / draws <= alpha + sampling_error
    if not rounded:  # without ties the rate is floor(alpha (n + 1)) / (n + 1)
        exact = math.floor(alpha * (n + 1) + TOLERANCE) / (n + 1)
        assert rejected / draws == pytest.approx(exact, abs=sampling_error)
