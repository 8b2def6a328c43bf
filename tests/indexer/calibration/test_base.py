from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backbones.specs import find_spec
from indexer.calibration.base import Calibration, CalibrationError, calibrate, images_needed
from search.calibrator import ConformalCalibrator

TOLERANCE = 1e-9
"""Slack for levels such as 0.05, which no binary fraction equals."""

scores_of_any_kind = st.one_of(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=120),
    st.lists(st.integers(0, 4).map(float), min_size=1, max_size=120),  # ties
)
levels = st.one_of(
    st.floats(1e-4, 0.999), st.sampled_from([0.01, 0.05, 0.1, 0.2, 1 / 3, 0.5, 0.75])
)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    scores = draw(scores_of_any_kind)
    reject, review = sorted(draw(st.tuples(levels, levels)))
    assume(images_needed(reject) <= len(scores))
    return calibrate(scores, alpha_reject=reject, alpha_review=review)


@st.composite
def calibrations_and_scores(draw: st.DrawFn) -> tuple[Calibration, float]:
    """A calibration and a score, which is often one of the calibration scores."""
    calibration = draw(calibrations())
    score = draw(st.one_of(st.sampled_from(calibration.scores), st.floats(-2e6, 2e6)))
    return calibration, score


@settings(deadline=None, max_examples=200)
@given(calibrations_and_scores())
def test_p_value_is_one_plus_the_scores_at_least_as_high_over_n_plus_one(
    case: tuple[Calibration, float],
) -> None:
    calibration, score = case
    at_least = sum(s >= score for s in calibration.scores)
    assert calibration.p_value(score) == (1 + at_least) / (calibration.n + 1)


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


@pytest.mark.parametrize("n", [1, 2, 5, 9, 19, 48, 99, 148])
def test_level_of_a_whole_number_of_ranks_is_not_lost_to_rounding(n: int) -> None:
    scores = list(range(n))
    for rank in range(1, n + 1):
        calibration = calibrate(scores, alpha_reject=rank / (n + 1), alpha_review=n / (n + 1))
        # p-values of the scores just above each calibration score are 1/(n+1), 2/(n+1), ...
        rejected = sum(calibration.verdict(s + 0.5) == "reject" for s in range(-1, n))
        assert rejected == rank


@settings(deadline=None, max_examples=100)
@given(calibrations(), st.lists(st.floats(-2e6, 2e6), min_size=2, max_size=30))
def test_higher_score_is_never_judged_more_kindly(
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
def test_levels_without_a_wish_are_one_and_five_percent_or_what_n_supports(n: int) -> None:
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
            calibrate(scores, alpha_reject=alpha)
        message = str(caught.value)
        assert f"--reject {alpha:g} needs at least {needed} calibration images" in message
        assert f"there are {needed - 1}" in message
        assert "\n" not in message
    calibration = calibrate([float(i) for i in range(needed)], alpha_reject=alpha)
    assert calibration.threshold == needed - 1, "only a score above all of them is rejected"
    assert calibration.verdict(needed) == "reject"


def test_review_level_that_n_cannot_support_is_refused_by_its_own_name() -> None:
    with pytest.raises(CalibrationError, match=r"--review 0\.05 needs at least 19 .* there are 18"):
        calibrate([0.0] * 18, alpha_review=0.05)


def test_review_level_below_the_reject_level_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"--review 0\.1 must be at least the reject level"):
        calibrate([0.0] * 50, alpha_reject=0.2, alpha_review=0.1)
    assert calibrate([0.0] * 50, alpha_reject=0.2, alpha_review=0.2).alpha_review == 0.2


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_level_outside_zero_and_one_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="--reject is a false-reject rate between 0 and 1"):
        calibrate([0.0] * 50, alpha_reject=alpha)


def test_no_scores_and_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no calibration image is left"):
        calibrate([])
    for bad in (math.nan, math.inf):
        with pytest.raises(CalibrationError, match="a calibration score is not finite"):
            calibrate([0.0, bad])


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (99, 0.05), (50, 0.1), (7, 0.3)])
@pytest.mark.parametrize("rounded", [False, True])
def test_false_reject_rate_over_many_draws_is_at_most_alpha(
    n: int, alpha: float, rounded: bool
) -> None:
    draws = 4000
    parts = np.random.default_rng(0).gamma(2.0, size=(draws, n + 1))
    if rounded:
        parts = np.round(parts, 1)
    rejected = sum(
        calibrate(row[:-1], alpha_reject=alpha, alpha_review=alpha).verdict(row[-1]) == "reject"
        for row in parts
    )
    sampling_error = 4 * math.sqrt(alpha * (1 - alpha) / draws)
    assert rejected / draws <= alpha + sampling_error
    if not rounded:  # without ties the rate is floor(alpha (n + 1)) / (n + 1)
        exact = math.floor(alpha * (n + 1) + TOLERANCE) / (n + 1)
        assert rejected / draws == pytest.approx(exact, abs=sampling_error)


@settings(deadline=None, max_examples=100)
@given(calibrations())
def test_calibration_survives_the_catalog(calibration: Calibration) -> None:
    payload = json.loads(json.dumps(calibration.to_payload()))
    assert Calibration.from_payload(payload) == calibration


def test_scores_are_kept_ascending_whatever_their_order() -> None:
    assert calibrate([3.0, 1.0, 2.0]).scores == (1.0, 2.0, 3.0)


def test_calibrator_checks_before_the_work_what_it_would_refuse_after() -> None:
    calibrator = ConformalCalibrator(alpha_reject=0.01)
    with pytest.raises(CalibrationError, match="needs at least 99"):
        calibrator.check(98)
    calibrator.check(99)
    distances = [np.full((4, 4), float(i), np.float32) for i in range(99)]
    payload = calibrator.calibrate(find_spec("compact"), distances)
    assert Calibration.from_payload(payload).alpha_reject == 0.01
