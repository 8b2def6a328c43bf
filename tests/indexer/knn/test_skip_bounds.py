from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.knn.kernels import COARSE, LANES, PADDING
from indexer.knn.reference import all_distances
from indexer.knn.skip_bounds import (
    BOX_AXES,
    LONGEST,
    coarsen,
    lay_out,
    projection_of,
    rounding_of,
    split_into_groups,
)
from tests.indexer.knn.vectors import clusters, normal, seeds


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    dim=st.sampled_from([2, 40, 129, 200]),
    tightness=st.integers(0, 7),
    magnitude=st.integers(-6, 6),
)
def test_no_bound_exceeds_the_distance_it_bounds(
    seed: int, dim: int, tightness: int, magnitude: int
) -> None:
    """What the certificate rests on, with the rounding that it allows for and no more."""
    apart = 10.0**magnitude
    bank, queries = clusters(
        seed, size=90, queries=20, dim=dim, apart=apart, spread=apart * 10.0**-tightness
    )
    projection = projection_of(bank)
    projected, query = projection.project(bank), projection.project(queries)
    lengths = np.sqrt(query.squared) + np.sqrt(projected.squared.max())
    allowed = (all_distances(queries, bank) + rounding_of(lengths, dim)[:, None]) * (1 + 1e-6)
    assert (all_distances(query.values, projected.values) <= allowed).all()
    unit = float(lengths.max()) / LONGEST or 1.0
    coarse, coarse_query = coarsen(projected.values, unit), coarsen(query.values, unit)
    steps = all_distances(coarse_query.values.astype(np.float32), coarse.values.astype(np.float32))
    bounds = unit * (steps - coarse_query.error[:, None] - coarse.error)
    assert (bounds <= allowed).all()
    for group in split_into_groups(projected.values[:, :BOX_AXES], 8):
        boxed, asked = projected.values[group, :BOX_AXES], query.values[:, :BOX_AXES]
        beyond = np.maximum(0, np.maximum(boxed.min(axis=0) - asked, asked - boxed.max(axis=0)))
        assert (np.linalg.norm(beyond, axis=1) <= allowed[:, group].min(axis=1)).all()


@pytest.mark.parametrize("dim", [1, 5, 62, 63, 64, 200])
def test_projection_is_as_long_as_the_full_one_and_the_coarse_one_but_for_rounding(
    dim: int,
) -> None:
    vectors, projection = normal(1, 20, dim), projection_of(normal(0, 300, dim))
    lengths = np.linalg.norm(vectors - projection.mean, axis=1)
    projected = projection.project(vectors).values
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), lengths, rtol=1e-6)
    unit = float(lengths.max()) / LONGEST
    coarse = coarsen(projected, unit)
    off = np.abs(np.sqrt(coarse.squared.astype(np.float64)) - lengths / unit)
    assert (off <= coarse.error + 1e-2).all()
    assert coarse.error.max() <= np.sqrt(COARSE) / 2


def test_blocks_hold_every_vector_once_in_pairs_of_values() -> None:
    bank = normal(0, 50, 70)
    projected = projection_of(bank).project(bank).values
    coarse = coarsen(projected, 1e-3)
    laid = lay_out(bank, projected, coarse, 12)
    assert sorted(laid.rows[laid.rows != PADDING]) == list(range(50))
    for place, row in enumerate(laid.rows):
        values = laid.coarse[place // LANES, :, place % LANES].ravel()
        half = laid.halves[place // LANES, place % LANES]
        if row == PADDING:
            assert not values.any()
            assert half == -(2**30)
        else:
            assert values.tolist() == coarse.values[row].tolist()
            assert half == -(coarse.squared[row] // 2)


@pytest.mark.parametrize("size", [1, 8, 9, 50, 64])
def test_every_vector_is_in_one_group_of_at_most_the_size_asked_for(size: int) -> None:
    groups = split_into_groups(normal(0, size, 5), 8)
    assert sorted(np.concatenate(groups)) == list(range(size))
    lengths = [len(group) for group in groups]
    assert min(lengths) >= 1
    assert max(lengths) <= 8
