from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from indexer.calibration.base import (
    Calibration,
    CalibrationError,
    images_needed,
    levels_to_choose,
    smallest_level,
)
from tests.indexer.calibration.strategies import (
    TOLERANCE,
    calibrate,
    calibrations,
    calibrations_and_scores,
)


@settings(deadline=None, max_examples=300)
@given(calibrations_and_scores())
def test_verdict_is_reject_exactly_when_the_p_value_is_at_most_alpha_reject(
    case: tuple[Calibration, float],
) -> None:
    calibration, score = case
    p = calibration.p_value(score)
    # a p-value within rounding of a level may count on either side of it
    assume(abs(p - calibration.alpha_reject) > TOLERANCE or p == calibration.alpha_reject)
    assume(abs(p - calibration.alpha_review) > TOLERANCE or p == calibration.alpha_review)
    expected = (
        "reject"
        if p <= calibration.alpha_reject
        else "review"
        if p <= calibration.alpha_review
        else "ok"
    )
    assert calibration.verdict(score) == expected


@settings(deadline=None, max_examples=100)
@given(calibrations(), st.lists(st.floats(-2e6, 2e6), min_size=2, max_size=30))
def test_higher_score_never_has_a_larger_p_value_or_a_milder_verdict(
    calibration: Calibration, scores: list[float]
) -> None:
    scores = sorted([*scores, *calibration.scores])
    order = {"ok": 0, "review": 1, "reject": 2}
    severities = [order[calibration.verdict(s)] for s in scores]
    p_values = [calibration.p_value(s) for s in scores]
    assert severities == sorted(severities)
    assert p_values == sorted(p_values, reverse=True)
    assert calibration.review_threshold <= calibration.threshold


@settings(deadline=None, max_examples=100)
@given(calibrations())
def test_thresholds_are_calibration_scores_and_scores_on_them_pass(
    calibration: Calibration,
) -> None:
    assert calibration.threshold in calibration.scores
    assert calibration.verdict(calibration.threshold) != "reject"
    assert calibration.verdict(calibration.review_threshold) == "ok"
    assert calibration.verdict(math.nextafter(calibration.threshold, math.inf)) == "reject"


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 400))
def test_levels_not_asked_for_are_one_and_five_percent_or_what_n_supports(n: int) -> None:
    calibration = calibrate([float(i) for i in range(n)])
    assert calibration.alpha_reject == max(0.01, 1 / (n + 1))
    assert calibration.alpha_reject <= calibration.alpha_review < 1
    if n >= 2:
        assert calibration.alpha_review == max(0.05, 2 / (n + 1))
    assert calibration.verdict(n) == "reject"


@pytest.mark.parametrize(("alpha", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.5, 1)])
def test_level_is_refused_below_the_images_it_needs_and_taken_from_there_on(
    alpha: float, needed: int
) -> None:
    assert images_needed(alpha) == needed
    scores = [float(i) for i in range(needed - 1)] or [0.0]
    if needed > 1:
        with pytest.raises(CalibrationError) as caught:
            calibrate(scores, reject=alpha)
        message = str(caught.value)
        assert f"--reject {alpha:g} needs at least {needed} calibration images" in message
        assert f"got {needed - 1}" in message
        assert "\n" not in message
    calibration = calibrate([float(i) for i in range(needed)], reject=alpha)
    assert calibration.threshold == needed - 1, "only a score above all of them is rejected"
    assert calibration.verdict(needed) == "reject"


def test_review_level_that_n_cannot_support_is_refused_by_its_own_name() -> None:
    with pytest.raises(CalibrationError, match=r"--review 0\.05 needs at least 19 .* got 18"):
        calibrate([0.0] * 18, review=0.05)


def test_review_level_below_the_reject_level_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"--review 0\.1 must be at least the reject level"):
        calibrate([0.0] * 50, reject=0.2, review=0.1)
    assert calibrate([0.0] * 50, reject=0.2, review=0.2).alpha_review == 0.2


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_level_outside_zero_and_one_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="--reject is a false-reject rate between 0 and 1"):
        calibrate([0.0] * 50, reject=alpha)


def test_no_scores_and_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no calibration image is left"):
        calibrate([])
    for bad in (math.nan, math.inf):
        with pytest.raises(CalibrationError, match="a calibration score is not finite"):
            calibrate([0.0, bad])


def test_map_threshold_is_the_rank_of_the_peaks() -> None:
    calibration = calibrate([1.0, 2, 3], peaks=[5.0, 4, 6], reject=0.5)
    assert calibration.threshold == 2
    assert calibration.map_threshold == 5


@pytest.mark.parametrize("n", [1, 2, 3, 16, 99, 5000])
def test_levels_to_choose_are_ones_that_n_supports_and_those_in_force(n: int) -> None:
    calibration = calibrate([float(score) for score in range(n)])
    levels = levels_to_choose(calibration)
    assert levels == sorted(set(levels))
    assert levels[0] == pytest.approx(smallest_level(n))
    assert {calibration.alpha_reject, calibration.alpha_review} <= set(levels)
    assert len(levels) <= 502
    if n <= 99:
        others = set(levels) - {calibration.alpha_reject, calibration.alpha_review}
        assert all(math.isclose(level * (n + 1), round(level * (n + 1))) for level in others)
