from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from indexer.knn.reference import QUERIES, all_distances, nearest_by_definition
from tests.indexer.knn.vectors import normal


@pytest.mark.parametrize("queries", [1, QUERIES, QUERIES + 1, 3 * QUERIES])
def test_distances_are_those_of_scipy(queries: int) -> None:
    some, others = normal(0, queries, 30), normal(1, 40, 30)
    np.testing.assert_allclose(all_distances(some, others), cdist(some, others), rtol=1e-12)


def test_nearest_is_the_first_of_the_equally_near() -> None:
    vectors = np.array([[3, 4], [0, 1], [1, 0]], np.float32)
    distances, indices = nearest_by_definition(np.zeros((1, 2), np.float32), vectors)
    assert distances.tolist() == [1.0]
    assert indices.tolist() == [1]


def test_difference_of_one_step_of_float32_is_not_lost() -> None:
    near = np.nextafter(np.float32(1000), np.float32(2000))
    vectors, query = np.full((1, 2), 1000, np.float32), np.array([[near, 1000]], np.float32)
    assert nearest_by_definition(query, vectors)[0].tolist() == [near - np.float32(1000)]
