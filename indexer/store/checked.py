"""Checks that both stores make around every call to their engine, so that both refuse the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from indexer.store.base import Hit, Point, StoreError, Vector, VectorParams, Where
from indexer.store.validation import (
    as_point,
    check_head,
    check_id,
    check_vector,
    checked_chunks,
    plain_payload,
    vector_selection,
)

CHUNK_POINTS = 1000
"""Points a request at most."""
Selection = bool | list[str]
"""Vectors to read: all, none, or the named ones."""


class CheckedStore(ABC):
    """Base of a `VectorStore` that checks all arguments; a subclass adds its engine's operations.

    Attributes:
        chunk_bytes: bytes of raw floats per request of points.
    """

    chunk_bytes: int

    @abstractmethod
    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        """Return the named vectors of a collection."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. May be called twice."""

    @abstractmethod
    def _write(self, name: str, points: Sequence[Point]) -> None: ...

    @abstractmethod
    def _erase(self, name: str, where: Where) -> None: ...

    @abstractmethod
    def _merge(self, name: str, ids: list[str], payload: dict[str, object]) -> None: ...

    @abstractmethod
    def _fetch(self, name: str, ids: list[str], vectors: Selection) -> Sequence[Any]: ...

    @abstractmethod
    def _page(
        self, name: str, where: Where | None, vectors: Selection, size: int, start: Any
    ) -> tuple[Sequence[Any], Any]: ...

    @abstractmethod
    def _nearest(
        self, name: str, row: Vector, using: str, top: int, where: Where | None, exact: bool
    ) -> Sequence[Any]: ...

    @abstractmethod
    def _move_head(self, key: str, expected: str | None, value: str) -> bool: ...

    def upsert(self, name: str, points: Iterable[Point]) -> None:
        """Write points, replacing those with the same id as a whole."""
        known = self.vector_params(name)
        for chunk in checked_chunks(
            name, points, known, max_bytes=self.chunk_bytes, max_points=CHUNK_POINTS
        ):
            self._write(name, chunk)

    def delete(self, name: str, where: Where) -> None:
        """Delete the points that match; StoreError if `where` is empty."""
        if not where:
            raise StoreError("delete needs a condition; delete_collection removes everything")
        self._erase(name, where)

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, object]) -> None:
        """Merge `payload` into these points; the value None removes a key."""
        points, plain = [check_id(point_id) for point_id in ids], plain_payload(payload)
        if points and plain:
            self._merge(name, points, plain)

    def retrieve(
        self, name: str, ids: Sequence[str], *, with_vectors: bool | Sequence[str] = False
    ) -> list[Point]:
        """Points by id, in the order of `ids`; missing ids are left out."""
        wanted = [check_id(point_id) for point_id in ids]
        records = self._fetch(name, list(wanted), vector_selection(with_vectors))
        found = {point.id: point for point in map(as_point, records)}
        return [found[point_id] for point_id in wanted if point_id in found]

    def scroll(
        self,
        name: str,
        where: Where | None = None,
        *,
        with_vectors: bool | Sequence[str] = False,
        batch: int = 1000,
    ) -> Iterator[Point]:
        """All matching points in the order of their ids, read `batch` at a time."""
        vectors, start = vector_selection(with_vectors), None
        while True:
            records, start = self._page(name, where, vectors, batch, start)
            yield from map(as_point, records)
            if start is None:
                return

    def query(
        self,
        name: str,
        vector: Vector,
        *,
        using: str,
        top: int,
        where: Where | None = None,
        exact: bool = True,
    ) -> list[Hit]:
        """Return the `top` points nearest to `vector` (D,) float32, nearest first."""
        row = check_vector(name, using, vector, self.vector_params(name))
        found = self._nearest(name, row, using, top, where, exact)
        return [Hit(str(hit.id), hit.score, hit.payload or {}) for hit in found]

    def move_head(self, key: str, expected: str | None, value: str) -> bool:
        """Compare-and-set: make the head `key` name `value` if it names `expected` now."""
        check_head(key, value)
        return self._move_head(key, expected, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
