"""Metrics against scikit-learn, golden values, and definitions written out a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from eval.metrics.detection import (
    PixelMetrics,
    Rate,
    average_precision,
    f1_max,
    image_auroc,
    wilson_interval,
)

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

TIED_SCORES = st.one_of(st.integers(0, 3).map(float), st.floats(0, 1e6))
LABELLED_SCORES = st.lists(st.tuples(st.booleans(), TIED_SCORES), min_size=2, max_size=40)

brief = settings(max_examples=40, deadline=None)  # a loaded machine is no failure
SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 8))
DISTANCES = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0]), st.floats(0, 1e4, width=32), st.floats(1, 1 + 2**-7, width=32)
)


@st.composite
def labelled_maps(draw: st.DrawFn) -> list[tuple[Float32, Bool]]:
    images = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(SHAPES)
        anomaly_map = draw(hnp.arrays(np.float32, shape, elements=DISTANCES))
        images.append((anomaly_map, draw(hnp.arrays(np.bool_, shape))))
    masks = np.concatenate([mask.ravel() for _, mask in images])
    assume(masks.any() and not masks.all())
    return images


def measured(images: list[tuple[Float32, Bool]]) -> PixelMetrics:
    metrics = PixelMetrics()
    for anomaly_map, mask in images:
        metrics.update(anomaly_map, mask)
    return metrics


def au_pro_by_definition(images: list[tuple[Float32, Bool]], limit: float) -> float:
    """Every distinct value as threshold, every region on its own, no histogram."""
    regions, normal = [], []
    for anomaly_map, mask in images:
        labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=int))
        regions += [anomaly_map[labels == number] for number in range(1, count + 1)]
        normal.append(anomaly_map[~mask])
    normals = np.concatenate(normal)
    x, y = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([*regions, normals]))[::-1]:
        x.append(float(np.mean(normals >= threshold)))
        y.append(float(np.mean([np.mean(region >= threshold) for region in regions])))
    inside = [(a, b) for a, b in zip(x, y, strict=True) if a <= limit]
    if inside[-1][0] < limit:
        after = len(inside)
        share = (limit - x[after - 1]) / (x[after] - x[after - 1])
        inside.append((limit, y[after - 1] + share * (y[after] - y[after - 1])))
    return float(np.trapezoid([b for _, b in inside], [a for a, _ in inside])) / limit


# Image metrics


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


# Pixel metrics


@brief
@given(labelled_maps())
def test_pixel_auroc_equals_scikit_learns_within_the_stated_error(
    images: list[tuple[Float32, Bool]],
) -> None:
    metrics = measured(images)
    truth = np.concatenate([mask.ravel() for _, mask in images])
    scores = np.concatenate([anomaly_map.ravel() for anomaly_map, _ in images])
    error = abs(metrics.pixel_auroc() - roc_auc_score(truth, scores))
    assert error <= metrics.pixel_auroc_error() + 1e-9


@brief
@given(labelled_maps(), st.sampled_from([0.05, 0.3, 1.0]))
def test_au_pro_equals_its_definition_within_the_stated_error(
    images: list[tuple[Float32, Bool]], limit: float
) -> None:
    metrics = measured(images)
    figure = metrics.au_pro(limit)
    assert 0 <= figure <= 1 + 1e-12
    error = abs(figure - au_pro_by_definition(images, limit))
    assert error <= metrics.au_pro_error(limit) + 1e-9


@brief
@given(labelled_maps())
def test_pixel_metrics_are_exact_for_values_of_13_bits(images: list[tuple[Float32, Bool]]) -> None:
    coarse = [(np.floor(m).clip(0, 8191).astype(np.float32), mask) for m, mask in images]
    metrics = measured(coarse)
    truth = np.concatenate([mask.ravel() for _, mask in coarse])
    scores = np.concatenate([anomaly_map.ravel() for anomaly_map, _ in coarse])
    assert metrics.pixel_auroc() == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert metrics.au_pro(0.3) == pytest.approx(au_pro_by_definition(coarse, 0.3), abs=1e-12)


def test_values_are_told_apart_to_13_bits_and_the_error_bound_admits_the_rest() -> None:
    mask = np.array([[True, False]])
    apart = measured([(np.array([[1 + 2**-13, 1]], dtype=np.float32), mask)])
    assert (apart.pixel_auroc(), apart.pixel_auroc_error()) == (1.0, 0.0)
    tied = measured([(np.array([[1 + 2**-14, 1]], dtype=np.float32), mask)])
    assert (tied.pixel_auroc(), tied.pixel_auroc_error()) == (0.5, 0.5)


def test_real_sized_maps_lose_less_than_a_ten_thousandth() -> None:
    rng = np.random.default_rng(7)
    images = []
    for size in ((96, 128), (64, 64)):
        anomaly_map = rng.gamma(4, 1, size).astype(np.float32)
        mask = np.zeros(size, dtype=np.bool_)
        mask[10:20, 10:30] = mask[40:60, 35:50] = True
        anomaly_map[mask] += 2
        images.append((anomaly_map, mask))
    metrics = measured(images)
    truth = np.concatenate([mask.ravel() for _, mask in images])
    scores = np.concatenate([anomaly_map.ravel() for anomaly_map, _ in images])
    assert metrics.pixel_auroc_error() < 1e-4
    assert metrics.pixel_auroc() == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    for limit in (0.05, 0.3):
        assert metrics.au_pro_error(limit) < 3e-4
        exact = au_pro_by_definition(images, limit)
        assert metrics.au_pro(limit) == pytest.approx(exact, abs=1e-5)


@brief
@given(labelled_maps())
def test_order_of_images_does_not_matter(images: list[tuple[Float32, Bool]]) -> None:
    forward, backward = measured(images), measured(images[::-1])
    assert forward.pixel_auroc() == backward.pixel_auroc()
    assert forward.au_pro() == pytest.approx(backward.au_pro())


def test_perfect_map_reaches_one_and_useless_map_the_diagonal() -> None:
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[3:6, 3:9] = mask[15:18, 2:4] = True
    perfect = measured([(mask.astype(np.float32), mask)])
    assert (perfect.pixel_auroc(), perfect.au_pro(), perfect.au_pro(0.05)) == (1.0, 1.0, 1.0)
    flat = measured([(np.ones((20, 20), dtype=np.float32), mask)])
    assert flat.pixel_auroc() == 0.5
    assert flat.au_pro(0.3) == pytest.approx(0.15)  # the mean of a diagonal up to 0.3


def test_small_region_weighs_as_much_as_a_large_one_and_diagonal_pixels_are_one_region() -> None:
    mask = np.zeros((10, 20), dtype=np.bool_)
    mask[0, 0] = mask[1, 1] = True  # one region of two pixels
    mask[4:8, 4:8] = True  # one region of 16, never found
    anomaly_map = np.ones((10, 20), dtype=np.float32)
    anomaly_map[0, 0] = anomaly_map[1, 1] = 2
    anomaly_map[mask & (anomaly_map == 1)] = 0
    assert measured([(anomaly_map, mask)]).au_pro(0.3) == pytest.approx(0.5)


def test_no_region_or_no_normal_pixel_leaves_pixel_metrics_undefined() -> None:
    anomaly_map = np.ones((4, 4), dtype=np.float32)
    for mask in (np.zeros((4, 4), dtype=np.bool_), np.ones((4, 4), dtype=np.bool_)):
        metrics = measured([(anomaly_map, mask)])
        assert math.isnan(metrics.pixel_auroc())
        assert math.isnan(metrics.au_pro())
    assert math.isnan(PixelMetrics().pixel_auroc())


def test_negative_zero_is_zero() -> None:
    mask = np.array([[True, False]])
    assert measured([(np.array([[-0.0, 0.0]], dtype=np.float32), mask)]).pixel_auroc() == 0.5


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf])
def test_maps_that_are_no_distances_are_refused(bad: float) -> None:
    anomaly_map = np.array([[1, bad]], dtype=np.float32)
    with pytest.raises(ValueError, match="must hold finite distances >= 0, got values from"):
        PixelMetrics().update(anomaly_map, np.array([[True, False]]))


def test_maps_and_masks_of_the_wrong_kind_are_refused() -> None:
    anomaly_map, mask = np.ones((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.bool_)
    with pytest.raises(ValueError, match=r"float32 with shape \(H, W\), got float64 \(2, 3\)"):
        PixelMetrics().update(anomaly_map.astype(np.float64), mask)
    with pytest.raises(ValueError, match=r"mask must be bool with shape \(2, 3\), got bool \(3, 2"):
        PixelMetrics().update(anomaly_map, mask.T)
    for limit in (0.0, 1.1):
        with pytest.raises(ValueError, match="must lie in"):
            PixelMetrics().au_pro(limit)


# Rates


def test_wilson_interval_of_published_example() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@brief
@given(st.integers(1, 500), st.data())
def test_wilson_interval_holds_the_rate_and_mirrors(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low))
    assert wilson_interval(successes, n, 0.99)[1] >= high


def test_rate_without_trials_is_undefined_and_could_be_anything() -> None:
    assert math.isnan(Rate(0, 0).value)
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert Rate(3, 4).value == 0.75


def test_impossible_counts_are_refused() -> None:
    for successes, n in ((2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
            Rate(successes, n)
        with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
            wilson_interval(successes, n)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, 1.0)
