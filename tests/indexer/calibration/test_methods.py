from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.calibration.base import Calibration, CalibrationError, Levels
from indexer.calibration.methods import (
    CALIBRATIONS,
    CONFORMAL,
    CalibrationSettings,
    from_payload,
    read_calibration,
    settings_of,
    to_payload,
)
from tests.indexer.calibration.strategies import calibrate, calibrations
from tests.indexer.world import an_entry

NORMAL = [float(score) for score in np.random.default_rng(0).gamma(2, size=40)]
DEFECTIVE = [float(score) for score in np.random.default_rng(1).gamma(4, size=40)]

every_method = pytest.mark.parametrize("name", CALIBRATIONS)


@settings(deadline=None, max_examples=100)
@given(calibrations())
def test_calibration_survives_the_catalog(calibration: Calibration) -> None:
    payload = json.loads(json.dumps(to_payload(calibration)))
    assert from_payload(payload) == calibration


@every_method
def test_calibration_by_any_method_survives_the_catalog(name: str) -> None:
    calibration = calibrate(
        NORMAL, reject=0.1, method=name, peaks=NORMAL[::-1], synthetic=DEFECTIVE
    )
    entry = an_entry(calibration=json.loads(json.dumps(to_payload(calibration))))
    assert read_calibration(entry) == calibration
    assert calibration.method.name == name
    assert settings_of(calibration) == CalibrationSettings(name, Levels(0.1, None))


@every_method
def test_calibrating_again_by_its_own_settings_changes_nothing(name: str) -> None:
    calibration = calibrate(NORMAL, review=0.2, method=name, synthetic=DEFECTIVE)
    again = settings_of(calibration).calibrate(calibration.scores, synthetic=calibration.synthetic)
    assert again == calibration


@every_method
@settings(deadline=None, max_examples=50)
@given(scores=st.lists(st.floats(-10, 30), min_size=2, max_size=20))
def test_p_value_is_a_share_that_falls_as_the_score_rises(name: str, scores: list[float]) -> None:
    calibration = calibrate(NORMAL, method=name, synthetic=DEFECTIVE)
    p_values = [calibration.p_value(score) for score in sorted(scores)]
    assert p_values == sorted(p_values, reverse=True)
    assert all(0 <= p_value <= 1 for p_value in p_values)


@every_method
def test_rejects_lie_above_the_threshold_and_reviews_below_it(name: str) -> None:
    calibration = calibrate(NORMAL, reject=0.05, review=0.3, method=name, synthetic=DEFECTIVE)
    assert calibration.review_threshold <= calibration.threshold
    assert calibration.verdict(calibration.threshold + 1e-6) == "reject"
    assert calibration.verdict(calibration.threshold) != "reject"
    assert calibration.verdict(calibration.review_threshold) == "ok"
    assert calibration.smallest_alpha == (1 / 41 if calibration.bound else 0)


def test_scores_are_stored_ascending_whatever_their_order() -> None:
    calibration = calibrate([3.0, 1.0, 2.0], peaks=[6.0, 4.0], synthetic=[9.0, 8.0])
    assert calibration.scores == (1.0, 2.0, 3.0)
    assert (calibration.peaks, calibration.synthetic) == ((4.0, 6.0), (8.0, 9.0))


def test_settings_are_checked_before_the_work_for_what_they_would_refuse_after() -> None:
    one_percent = CalibrationSettings(levels=Levels(0.01))
    with pytest.raises(CalibrationError, match="needs at least 99"):
        one_percent.check(98)
    one_percent.check(99)
    calibration = one_percent.calibrate([float(i) for i in range(99)])
    assert from_payload(to_payload(calibration)).alpha_reject == 0.01
    with pytest.raises(CalibrationError, match="needs a learnt category"):
        CalibrationSettings("synthetic-f1").check(99)


def test_default_is_split_conformal_at_the_levels_that_the_images_support() -> None:
    assert CalibrationSettings("conformal", Levels(None, None)) == CONFORMAL
    assert CONFORMAL.calibrate(NORMAL).alpha_reject == 1 / 41
