"""What every store checks, proved on an engine that is a dictionary."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer.store.base import Point, StoreError, Vector, VectorParams, Where
from indexer.store.checked import CHUNK_POINTS, CheckedStore, Selection


class FakeStore(CheckedStore):
    """A fake: one collection of points of three values, in a dictionary."""

    chunk_bytes = 1 << 20

    def __init__(self) -> None:
        self.points: dict[str, Point] = {}
        self.requests: list[int] = []
        self.heads: dict[str, str] = {}
        self.closed = False

    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        return {"v": VectorParams(3, "euclid", indexed=False)}

    def close(self) -> None:
        self.closed = True

    def _write(self, name: str, points: Sequence[Point]) -> None:
        self.requests.append(len(points))
        self.points |= {point.id: point for point in points}

    def _erase(self, name: str, where: Where) -> None:
        self.points.clear()

    def _merge(self, name: str, ids: list[str], payload: dict[str, object]) -> None:
        self.requests.append(len(ids))

    def _fetch(self, name: str, ids: list[str], vectors: Selection) -> Sequence[Any]:
        found = [self.points[key] for key in sorted(ids) if key in self.points]
        return [SimpleNamespace(id=p.id, vector=p.vectors, payload=p.payload) for p in found]

    def _page(
        self, name: str, where: Where | None, vectors: Selection, size: int, start: Any
    ) -> tuple[Sequence[Any], Any]:
        ids, first = sorted(self.points), start or 0
        after = first + size
        return self._fetch(name, ids[first:after], vectors), after if after < len(ids) else None

    def _nearest(
        self, name: str, row: Vector, using: str, top: int, where: Where | None, exact: bool
    ) -> Sequence[Any]:
        return [SimpleNamespace(id=key, score=1.0, payload=None) for key in self.points][:top]

    def _move_head(self, key: str, expected: str | None, value: str) -> bool:
        self.heads[key] = value
        return True


def points(count: int) -> list[Point]:
    ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(count)]
    return [Point(key, {"v": np.ones(3, np.float32)}, {"n": n}) for n, key in enumerate(ids)]


def test_many_points_go_in_requests_of_bounded_size() -> None:
    store = FakeStore()
    store.upsert("c", points(2 * CHUNK_POINTS + 5))
    assert store.requests == [CHUNK_POINTS, CHUNK_POINTS, 5]


def test_a_bad_point_is_refused_before_the_engine_sees_its_request() -> None:
    store = FakeStore()
    bad = Point(points(1)[0].id, {"v": np.ones(4, np.float32)}, {})
    with pytest.raises(StoreError, match=r"must have shape \(3,\), got \(4,\)"):
        store.upsert("c", [*points(3)[1:], bad])
    assert store.points == {}


def test_points_come_back_in_the_order_asked_for_and_the_missing_are_left_out() -> None:
    store = FakeStore()
    written = points(5)
    store.upsert("c", written[:4])
    asked = [written[number].id for number in (3, 4, 0, 2)]
    assert [point.id for point in store.retrieve("c", asked)] == [asked[0], asked[2], asked[3]]


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_every_point_is_scrolled_once_whatever_the_page(batch: int) -> None:
    store = FakeStore()
    store.upsert("c", points(7))
    found = [point.id for point in store.scroll("c", batch=batch)]
    assert found == sorted(point.id for point in points(7))


def test_query_checks_the_vector_and_gives_hits_with_a_payload() -> None:
    store = FakeStore()
    store.upsert("c", points(3))
    (hit,) = store.query("c", np.ones(3, np.float32), using="v", top=1)
    assert (hit.score, hit.payload) == (1.0, {})
    with pytest.raises(StoreError, match="has no vector 'w'"):
        store.query("c", np.ones(3, np.float32), using="w", top=1)


def test_nothing_is_asked_of_the_engine_without_points_payload_or_condition() -> None:
    store = FakeStore()
    store.set_payload("c", [], {"a": 1})
    store.set_payload("c", [points(1)[0].id], {})
    assert store.requests == []
    with pytest.raises(StoreError, match="delete needs a condition"):
        store.delete("c", {})


def test_a_head_of_a_bad_name_is_refused_before_it_moves() -> None:
    store = FakeStore()
    with pytest.raises(StoreError, match="bad collection name"):
        store.move_head("a/b", None, "1-x")
    assert store.heads == {}
    assert store.move_head("a--b", None, "1-x")


def test_leaving_the_block_closes_the_store() -> None:
    with FakeStore() as store:
        assert not store.closed
    assert store.closed
