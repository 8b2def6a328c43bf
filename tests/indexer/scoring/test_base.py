from __future__ import annotations

import numpy as np
import pytest

from indexer.scoring.base import NearestNormal, Scored


@pytest.mark.parametrize("cell", [(0, 0), (1, 4), (2, 3)])
def test_worst_cell_is_the_row_and_column_of_the_largest_distance(cell: tuple[int, int]) -> None:
    distances = np.random.default_rng(0).random((3, 5), np.float32)
    distances[cell] = 2
    nearest = NearestNormal("image", (0, 0), 2.0)
    scored = Scored(2.0, distances, np.zeros((3, 5), np.int64), nearest)
    assert scored.worst_cell == cell
    assert all(type(place) is int for place in scored.worst_cell)
