from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.knn import pca
from indexer.knn.pca import PcaProjection, principal_axes
from indexer.knn.reference import all_distances
from tests.indexer.knn.vectors import dims, normal, seeds


@pytest.mark.parametrize("dim", [3, 40])
def test_axes_are_those_of_the_singular_value_decomposition(dim: int) -> None:
    vectors = normal(0, 500, dim) * np.logspace(0, 2, dim, dtype=np.float32) + 7
    found = principal_axes(vectors, 3)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.variances, lengths**2 / 500, rtol=1e-5)
    alike = np.abs(np.einsum("dk,kd->k", found.axes, axes[:3]))
    np.testing.assert_allclose(alike, 1, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 9])
def test_axes_are_orthonormal_and_at_most_as_many_as_values(count: int) -> None:
    axes = principal_axes(normal(0, 50, 5), count).axes
    assert axes.shape == (5, min(count, 5))
    np.testing.assert_allclose(axes.T @ axes, np.eye(min(count, 5)), atol=1e-12)


def test_axes_of_many_vectors_come_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = normal(0, 90, 4)
    monkeypatch.setattr(pca, "SAMPLE", 30)
    found = principal_axes(vectors, 4)
    sample = vectors[::3] - found.mean.astype(np.float64)
    assert found.variances.sum() == pytest.approx((sample**2).sum() / 30)
    assert found.mean == pytest.approx(vectors.mean(axis=0), abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(seeds, dims, st.integers(1, 70), st.integers(-3, 3))
def test_projections_are_never_farther_apart_than_the_vectors(
    seed: int, dim: int, count: int, magnitude: int
) -> None:
    """Whatever the axes: these are of other vectors, about a mean of their own."""
    axes = principal_axes(normal(seed, 80, dim), count)
    projection = PcaProjection(axes.mean, axes.axes)
    some, others = (np.float32(10.0**magnitude) * normal(seed + i, 20, dim) + 5 for i in (1, 2))
    lengths = np.sqrt(projection.project(some).squared.max())
    bounds = all_distances(projection.project(some).values, projection.project(others).values)
    assert (bounds <= all_distances(some, others) + 1e-5 * lengths).all()


@settings(deadline=None, max_examples=60)
@given(seeds, dims, st.integers(1, 70))
def test_distance_to_the_mean_is_kept_whatever_the_axes(seed: int, dim: int, count: int) -> None:
    axes = principal_axes(normal(seed, 80, dim), count)
    vectors = normal(seed + 1, 20, dim)
    found = PcaProjection(axes.mean, axes.axes).project(vectors)
    lengths = np.linalg.norm(vectors - axes.mean.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.sqrt(found.squared), lengths, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), lengths, rtol=1e-6)


def test_bound_is_tight_where_the_vectors_lie_in_the_plane_of_the_axes() -> None:
    vectors = normal(0, 60, 2) @ normal(1, 2, 30)
    axes = principal_axes(vectors, 2)
    projected = PcaProjection(axes.mean, axes.axes).project(vectors).values
    bounds, distances = (all_distances(rows, rows) for rows in (projected, vectors))
    np.testing.assert_allclose(bounds, distances, atol=1e-4)


def test_projection_does_not_depend_on_how_many_are_projected_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = normal(0, 50, 20)
    axes = principal_axes(vectors, 5)
    projection = PcaProjection(axes.mean, axes.axes)
    whole = projection.project(vectors)
    monkeypatch.setattr(pca, "ROWS", 7)
    apart = projection.project(vectors)
    np.testing.assert_allclose(whole.values, apart.values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(whole.squared, apart.squared, rtol=1e-12)


def test_vector_too_long_for_float32_is_infinitely_long_without_a_warning() -> None:
    projection = PcaProjection(np.full(2, -3e38, np.float32), np.eye(2))
    found = projection.project(np.full((1, 2), 3e38, np.float32))
    assert np.isinf(found.values[0, :2]).all()
    assert found.squared[0] == pytest.approx(2 * 6e38**2)
