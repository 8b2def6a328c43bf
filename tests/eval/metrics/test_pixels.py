"""Pixel metrics against scikit-learn and definitions written out a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from eval.metrics.pixels import PixelMetrics

Float32 = NDArray[np.float32]


Bool = NDArray[np.bool_]


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
