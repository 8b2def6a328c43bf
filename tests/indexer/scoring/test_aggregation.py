from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from indexer.scoring.aggregation import AGGREGATIONS, DEFAULT_AGGREGATION

Float32 = NDArray[np.float32]

distances = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(0, 1e6, width=32),
)


def test_table_is_by_name_and_every_entry_says_what_it_is() -> None:
    for name, aggregation in AGGREGATIONS.items():
        assert aggregation.name == name
        assert aggregation.sentence.endswith(".")
    assert AGGREGATIONS[DEFAULT_AGGREGATION.name] is DEFAULT_AGGREGATION


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(deadline=None, max_examples=50)
@given(found=distances, more=st.floats(0, 1e3, width=32))
def test_score_never_falls_as_distances_rise_and_is_not_clamped(
    name: str, found: Float32, more: float
) -> None:
    aggregate = AGGREGATIONS[name]
    score = aggregate(found)
    assert found.min() <= score <= found.max()
    assert aggregate(found + np.float32(more)) >= score
    assert aggregate(np.full_like(found, 1e30)) == pytest.approx(1e30)


@settings(deadline=None, max_examples=50)
@given(distances)
def test_largest_is_the_largest_distance(found: Float32) -> None:
    assert AGGREGATIONS["largest"](found) == max(map(float, found.ravel()))
