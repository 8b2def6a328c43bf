from __future__ import annotations

import itertools
import json
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.store.base import Not, Point, Range, StoreError, VectorParams
from indexer.store.validation import (
    as_point,
    check_collection_name,
    check_id,
    check_same_vectors,
    check_vector,
    checked_chunks,
    field_path,
    plain_field,
    plain_payload,
    where_clauses,
)

VECTORS = {"patch": VectorParams(4, "euclid", indexed=False)}


def _points(count: int) -> list[Point]:
    return [
        Point(str(uuid.UUID(int=i)), {"patch": np.full(4, i, np.float32)}, {"row": i})
        for i in range(count)
    ]


@given(st.integers(0, 40), st.integers(1, 100), st.integers(1, 9))
def test_chunks_hold_every_point_in_order_within_both_limits(
    count: int, max_bytes: int, max_points: int
) -> None:
    chunks = list(
        checked_chunks("bank", _points(count), VECTORS, max_bytes=max_bytes, max_points=max_points)
    )
    assert [point.payload["row"] for chunk in chunks for point in chunk] == list(range(count))
    for chunk in chunks:
        assert 1 <= len(chunk) <= max_points
        assert len(chunk) == 1 or 16 * len(chunk) <= max_bytes
    for chunk, after in itertools.pairwise(chunks):
        full = len(chunk) == max_points or 16 * (len(chunk) + 1) > max_bytes
        assert full, (len(chunk), len(after))


def test_a_bad_point_is_told_after_the_chunks_before_it() -> None:
    points = [*_points(4), Point("7", {}, {})]
    chunks = checked_chunks("bank", points, VECTORS, max_bytes=1 << 20, max_points=2)
    assert [len(next(chunks)), len(next(chunks))] == [2, 2]
    with pytest.raises(StoreError, match="'7' is not a UUID"):
        next(chunks)


@given(st.text(min_size=1).filter(lambda field: '"' not in field))
def test_field_is_found_again_in_its_path(field: str) -> None:
    assert plain_field(field_path(field)) == field


def test_only_fields_that_need_it_are_quoted() -> None:
    assert [field_path(field) for field in ("row", "a-b_1", "a.b", "batch no")] == [
        "row",
        "a-b_1",
        '"a.b"',
        '"batch no"',
    ]
    for field in ("", 'a"b'):
        with pytest.raises(StoreError, match="cannot be searched: empty or holds a quote"):
            field_path(field)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_payload_of_json_values_stays_as_it_is(payload: dict[str, object]) -> None:
    plain = plain_payload(payload)
    assert plain == payload
    assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), b"bytes", {1, 2}])
def test_payload_that_json_lacks_is_refused(value: object) -> None:
    with pytest.raises(StoreError, match=r"payload \['score'\] is not JSON"):
        plain_payload({"score": value})


@given(st.uuids())
def test_an_id_is_a_uuid_as_python_writes_it(point_id: uuid.UUID) -> None:
    assert check_id(str(point_id)) == str(point_id)
    for other in (point_id.hex, f"{{{point_id}}}", point_id.urn):
        with pytest.raises(StoreError, match="not a UUID in canonical form"):
            check_id(other)


@pytest.mark.parametrize("name", ["a", "grid--compact--bank", "_x.1", "x" * 200])
def test_a_good_collection_name_comes_back(name: str) -> None:
    assert check_collection_name(name) == name


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a\n", "x" * 201])
def test_a_collection_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="bad collection name"):
        check_collection_name(name)


def test_vectors_are_the_same_by_name_size_and_distance_alone() -> None:
    check_same_vectors("bank", VECTORS, {"patch": VectorParams(4, "euclid", indexed=True)})
    for other in (VectorParams(5, "euclid", indexed=False), VectorParams(4, "dot", indexed=False)):
        with pytest.raises(StoreError, match=r"holds vectors \[patch 4 euclid\] but"):
            check_same_vectors("bank", VECTORS, {"patch": other})


def test_a_vector_comes_back_as_float32_or_is_refused() -> None:
    row = check_vector("bank", "patch", np.arange(4, dtype=np.float64), VECTORS)  # type: ignore[arg-type]
    assert row.dtype == np.float32
    assert row.tolist() == [0, 1, 2, 3]
    with pytest.raises(StoreError, match=r"must have shape \(4,\), got \(1, 4\)"):
        check_vector("bank", "patch", row[None], VECTORS)
    with pytest.raises(StoreError, match="holds NaN or infinity"):
        check_vector("bank", "patch", np.full(4, np.inf, np.float32), VECTORS)


def test_conditions_are_split_into_what_must_and_what_must_not_hold() -> None:
    must, must_not = where_clauses(
        {"a": 1, "b": ("x", "y"), "c": Not(["z"]), "d": Range(lt=3), "e": Not(False)}
    )
    assert must == [("a", 1), ("b", ["x", "y"]), ("d", Range(lt=3))]
    assert must_not == [("c", ["z"]), ("e", False)]


def test_a_record_without_vectors_or_payload_is_a_point_of_none() -> None:
    class Record:
        id, vector, payload = uuid.UUID(int=1), None, None

    point = as_point(Record())
    assert point.id == str(uuid.UUID(int=1))
    assert (point.vectors, point.payload) == ({}, {})
