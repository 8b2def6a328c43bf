from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from indexer.knn import kernels
from indexer.knn.kernels import COARSE, HIGHEST, LANES, LOWEST, TILE


@numba.njit
def _tile(blocks: Any, block: int, halves: Any, queries: Any, rows: Any, floors: Any) -> Any:
    sums = np.empty((TILE, LANES), np.int32)
    reached = kernels._tile_products(blocks, block, halves, queries, rows, floors, sums)
    return reached, sums


@pytest.mark.parametrize("largest", [3, 4000])
def test_tile_holds_the_products_of_six_queries_with_sixteen_vectors(largest: int) -> None:
    rng = np.random.default_rng(largest)
    vectors = rng.integers(-largest, largest + 1, (3 * LANES, COARSE)).astype(np.int16)
    queries = rng.integers(-largest, largest + 1, (9, COARSE)).astype(np.int16)
    halves = -(vectors.astype(np.int64) ** 2).sum(axis=1) // 2
    blocks = vectors.reshape(3, LANES, COARSE // 2, 2).swapaxes(1, 2).copy()
    rows = np.array([8, 0, 3, 3, 1, 5])
    expected = queries[rows].astype(np.int64) @ vectors[LANES : 2 * LANES].T.astype(np.int64)
    expected += halves[LANES : 2 * LANES]
    assert np.abs(expected).max() < 2**31

    def tile(floors: list[int]) -> tuple[int, Any]:
        return _tile(  # type: ignore[no-any-return]
            blocks,
            1,
            halves.astype(np.int32).reshape(3, LANES),
            queries.view(np.int32),
            rows,
            np.array(floors, np.int32),
        )

    assert tile([LOWEST] * TILE)[1].tolist() == expected.tolist()
    assert tile([HIGHEST] * TILE)[0] == 0
    for i in range(TILE):
        floors = [HIGHEST] * TILE
        floors[i] = int(expected[i].max())
        reached = expected[i] == expected[i].max()
        assert tile(floors)[0] == sum(1 << lane for lane in np.flatnonzero(reached))
        floors[i] += 1
        assert tile(floors)[0] == 0


def test_loops_are_compiled_each_time_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_ = numba.njit

    def without_cache(function: Callable[..., Any], **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(function, **options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert kernels._compiled(lambda a, b: a + b)(2, 3) == 5
