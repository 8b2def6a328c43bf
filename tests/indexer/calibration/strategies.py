"""Calibrations of any kind of scores, to be drawn by property tests."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import assume
from hypothesis import strategies as st

from indexer.calibration.base import Calibration, Levels, images_needed
from indexer.calibration.methods import CalibrationSettings

TOLERANCE = 1e-9
"""Slack for levels such as 0.05, which no binary fraction equals."""

scores_of_any_kind = st.one_of(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=120),
    st.lists(st.integers(0, 4).map(float), min_size=1, max_size=120),  # ties
)
levels = st.one_of(
    st.floats(1e-4, 0.999), st.sampled_from([0.01, 0.05, 0.1, 0.2, 1 / 3, 0.5, 0.75])
)


def calibrate(
    scores: Sequence[float],
    *,
    reject: float | None = None,
    review: float | None = None,
    method: str = "conformal",
    peaks: Sequence[float] = (),
    synthetic: Sequence[float] = (),
) -> Calibration:
    settings = CalibrationSettings(method, Levels(reject, review))
    return settings.calibrate(scores, peaks=peaks, synthetic=synthetic)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    scores = draw(scores_of_any_kind)
    reject, review = sorted(draw(st.tuples(levels, levels)))
    assume(images_needed(reject) <= len(scores))
    return calibrate(scores, reject=reject, review=review)


@st.composite
def calibrations_and_scores(draw: st.DrawFn) -> tuple[Calibration, float]:
    """A calibration and a score, which is often one of the calibration scores."""
    calibration = draw(calibrations())
    score = draw(st.one_of(st.sampled_from(calibration.scores), st.floats(-2e6, 2e6)))
    return calibration, score
