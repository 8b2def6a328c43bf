from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from indexer.store.base import (
    Point,
    ServerCollections,
    StoreError,
    VectorParams,
    check_vector_name,
    read_matrix,
)
from indexer.store.edge import EdgeStore

VECTORS = {
    "patch": VectorParams(4, "euclid", indexed=False),
    "whole": VectorParams(3, "cosine", indexed=True),
}


def test_a_write_that_waits_for_more_copies_than_there_are_is_refused() -> None:
    with pytest.raises(StoreError, match=r"expected write_consistency of at most replication"):
        ServerCollections(replication=2, write_consistency=3)


def test_a_known_vector_is_found_and_an_unknown_one_refused_with_the_known() -> None:
    assert check_vector_name("bank", "patch", VECTORS) is VECTORS["patch"]
    with pytest.raises(StoreError, match=r"'bank' has no vector 'map', only: patch, whole"):
        check_vector_name("bank", "map", VECTORS)


def test_a_matrix_has_a_row_for_each_matching_point_that_has_the_vector(tmp_path: Path) -> None:
    points = [
        Point(
            str(uuid.UUID(int=i)),
            {"patch": np.full(4, i, np.float32)} if i % 2 else {},
            {"row": i},
        )
        for i in range(9, 0, -1)
    ]
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", VECTORS, {})
        store.upsert("bank", points)
        ids, matrix, payloads = read_matrix(store, "bank", "patch", {"row": [*"x"]})
        assert (ids, matrix.shape, payloads) == ([], (0, 4), [])
        ids, matrix, payloads = read_matrix(store, "bank", "patch")
    assert ids == [str(uuid.UUID(int=i)) for i in (1, 3, 5, 7, 9)]
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[i] * 4 for i in (1, 3, 5, 7, 9)]
    assert [payload["row"] for payload in payloads] == [1, 3, 5, 7, 9]
