from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.knn.brute_force import nearest_of, squared_distances
from indexer.knn.reference import all_distances
from tests.indexer.knn.vectors import dims, normal, seeds, sizes


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, dims, st.sampled_from([0.0, 1.0, 100.0]))
def test_nearest_is_that_of_the_definition(seed: int, size: int, dim: int, offset: float) -> None:
    points, others = normal(seed, 20, dim), normal(seed + 1, size, dim)
    points, others = points + np.float32(offset), others + np.float32(offset)
    squared, indices = nearest_of(points, others)
    distances = all_distances(points, others)
    chosen = distances[np.arange(20), indices]
    np.testing.assert_allclose(np.sqrt(squared), chosen, rtol=1e-5)
    # which is nearest is told up to the rounding of a product of the whole vectors
    assert (chosen**2 <= distances.min(axis=1) ** 2 + 1e-5 * distances.max() ** 2).all()
    assert np.array_equal(squared_distances(points, others), squared)


def test_equal_vectors_lie_at_exactly_zero() -> None:
    points = normal(0, 50, 30) + np.float32(1000)
    squared, indices = nearest_of(points, points.copy())
    assert not squared.any()
    assert indices.tolist() == list(range(50))


def test_result_is_float32_whatever_the_number_of_vectors() -> None:
    squared, indices = nearest_of(normal(0, 3, 4), normal(1, 1, 4))
    assert squared.dtype == np.float32
    assert squared.shape == (3,)
    assert indices.tolist() == [0, 0, 0]
