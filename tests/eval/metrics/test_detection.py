"""Image metrics against scikit-learn and golden values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from eval.metrics.detection import Rate, average_precision, f1_max, image_auroc

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

TIED_SCORES = st.one_of(st.integers(0, 3).map(float), st.floats(0, 1e6))
LABELLED_SCORES = st.lists(st.tuples(st.booleans(), TIED_SCORES), min_size=2, max_size=40)

brief = settings(max_examples=40, deadline=None)  # a loaded machine is no failure


@brief
@given(LABELLED_SCORES)
def test_image_metrics_equal_scikit_learns_on_raw_scores(pairs: list[tuple[bool, float]]) -> None:
    labels, scores = (list(column) for column in zip(*pairs, strict=True))
    assume(any(labels) and not all(labels))
    assert image_auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores)
    )
    best, threshold = f1_max(labels, scores)
    every_f1 = [f1_score(labels, np.asarray(scores) >= cut) for cut in scores]
    assert best == pytest.approx(max(every_f1))
    assert f1_score(labels, np.asarray(scores) >= threshold) == pytest.approx(best)


def test_image_auroc_counts_pairs_and_half_of_ties() -> None:
    # pairs (defective, normal): 3>1, 3>2, 2>1 won, 2=2 tied: 3.5 of 4
    assert image_auroc([False, False, True, True], [1, 2, 2, 3]) == 0.875


def test_scores_beyond_one_are_not_squashed() -> None:
    assert image_auroc([False, False, True, True], [101, 102, 103, 104]) == 1.0


@brief
@given(LABELLED_SCORES)
def test_image_auroc_is_invariant_under_rising_transforms(pairs: list[tuple[bool, float]]) -> None:
    labels, scores = (list(column) for column in zip(*pairs, strict=True))
    assume(any(labels) and not all(labels))
    ranks = np.unique(scores, return_inverse=True)[1]
    auroc = image_auroc(labels, scores)
    assert 0 <= auroc <= 1
    assert image_auroc(labels, ranks) == auroc
    assert image_auroc(labels, np.exp(ranks / 10)) == auroc
    assert image_auroc(labels, -np.asarray(scores)) == pytest.approx(1 - auroc)


@pytest.mark.parametrize("labels", [[], [True], [False, False], [True, True]])
def test_one_class_alone_leaves_every_image_metric_undefined(labels: list[bool]) -> None:
    scores = [1.0] * len(labels)
    figures = (image_auroc(labels, scores), average_precision(labels, scores))
    assert all(math.isnan(figure) for figure in (*figures, *f1_max(labels, scores)))


def test_equal_f1_names_the_highest_threshold() -> None:
    assert f1_max([True, False, True], [3, 2, 1]) == pytest.approx((0.8, 1))
    assert f1_max([False, True, False], [1, 2, 0]) == (1.0, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    for metric in (image_auroc, average_precision, f1_max):
        with pytest.raises(ValueError, match=r"^scores must be finite, got .* at position 1$"):
            metric([True, False], [1.0, bad])


def test_labels_and_scores_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(2,\) and \(3,\)"):
        image_auroc([True, False], [1, 2, 3])


def test_wilson_interval_of_published_example() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    assert Rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Rate(15, 148).interval == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert Rate(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Rate(1, 29).interval == pytest.approx((0.0061, 0.1718), abs=5e-5)


@brief
@given(st.integers(1, 500), st.data())
def test_wilson_interval_holds_the_rate_and_mirrors(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = Rate(successes, n).interval
    assert 0 <= low <= successes / n <= high <= 1
    assert Rate(n - successes, n).interval == pytest.approx((1 - high, 1 - low))


def test_rate_without_trials_is_undefined_and_could_be_anything() -> None:
    assert math.isnan(Rate(0, 0).value)
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert Rate(3, 4).value == 0.75


def test_impossible_counts_are_refused() -> None:
    for successes, n in ((2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
            Rate(successes, n)
