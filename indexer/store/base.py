"""One protocol for both kinds of store: an embedded folder or a Qdrant server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from backbones.errors import VecspectError

Vector = NDArray[np.float32]
Distance = Literal["euclid", "cosine", "dot"]
Quantization = Literal["int8"]
PayloadIndex = Literal["keyword", "integer", "float", "bool", "datetime"]


class StoreError(VecspectError):
    """Raised when the store cannot be reached or opened, or cannot do what was requested."""


@dataclass(frozen=True, slots=True)
class VectorParams:
    """Named vector of a collection.

    With `indexed=False` it has no HNSW graph, and every search is a scan.
    """

    size: int
    distance: Distance
    indexed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A point: a canonical UUID, vectors (D,) float32 of the collection, and a JSON payload.

    `vectors` is empty if vectors were not requested, and may lack some of the collection's.
    """

    id: str
    vectors: Mapping[str, Vector]
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result with the engine's score.

    euclid: the distance, not squared, lower is nearer. cosine, dot: higher is nearer.
    """

    id: str
    score: float
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Range:
    """Condition that matches numbers between the given bounds."""

    gte: float | None = None
    lte: float | None = None
    gt: float | None = None
    lt: float | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """Condition that matches points whose field is not `value`, or none of a sequence.

    Points without the field match too.
    """

    value: str | int | bool | Sequence[str]


Where = Mapping[str, str | int | bool | Sequence[str] | Range | Not]
"""Conditions on top-level payload fields; every entry must hold, a sequence means any of.
An int does not match a float or a bool, and a list in a payload matches by any of its members.
"""


class VectorStore(Protocol):
    """Collections of points, as much of Qdrant as vecspect needs; one contract suite tests each.

    Every method raises StoreError with one line of text, also for a collection that does not exist.
    Vectors are returned as they were written, except that the engine normalises cosine vectors.
    """

    @property
    def location(self) -> str:
        """Folder or URL with which this store was opened."""

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""

    def create_collection(
        self,
        name: str,
        vectors: Mapping[str, VectorParams],
        payload_indexes: Mapping[str, PayloadIndex],
    ) -> None:
        """Create a collection; if it exists, add the missing payload indexes.

        `vectors` may be empty. Raises StoreError when the existing vectors differ in name, size
        or distance.
        """

    def delete_collection(self, name: str) -> None:
        """Delete a collection with all its points; nothing happens if it does not exist."""

    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        """Return the named vectors of a collection."""

    def payload_indexes(self, name: str) -> Mapping[str, PayloadIndex]:
        """Return the indexed payload fields of a collection; `:memory:` indexes none."""

    def upsert(self, name: str, points: Iterable[Point]) -> None:
        """Write points, replacing those with the same id as a whole.

        Writing twice changes nothing. Points are sent in chunks: if a bad point raises StoreError,
        the chunks before it stay written.
        """

    def delete(self, name: str, where: Where) -> None:
        """Delete the points that match; StoreError if `where` is empty."""

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, object]) -> None:
        """Merge `payload` into these points; the value None removes a key.

        Raises StoreError for an unknown id; the other points are updated all the same.
        """

    def retrieve(
        self, name: str, ids: Sequence[str], *, with_vectors: bool | Sequence[str] = False
    ) -> list[Point]:
        """Points by id, in the order of `ids`; missing ids are left out."""

    def scroll(
        self,
        name: str,
        where: Where | None = None,
        *,
        with_vectors: bool | Sequence[str] = False,
        batch: int = 1000,
    ) -> Iterator[Point]:
        """All matching points in the order of their ids, read `batch` at a time.

        `with_vectors` takes all, none, or the named ones.
        """

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
        """Return the `top` points nearest to `vector` (D,) float32, nearest first.

        `exact` compares with every point; otherwise the HNSW graph is used where there is one.
        """

    def count(self, name: str, where: Where | None = None) -> int:
        """Exact number of matching points."""

    def head(self, key: str) -> str | None:
        """Value of the head `key`; None until something has moved it."""

    def heads(self) -> Mapping[str, str]:
        """Values of all heads by key."""

    def move_head(self, key: str, expected: str | None, value: str) -> bool:
        """Compare-and-set: make the head `key` name `value` if it names `expected` now.

        Returns whether it did; False if another writer was first. Of any number of writers with the
        same `expected`, exactly one gets True. The move is durable when this returns. `key` and
        `value` are letters, digits, '.', '_' and '-'. Raises StoreError if the store cannot tell.
        """

    def flush(self, name: str) -> None:
        """Make everything written to the collection durable."""

    def optimize(self, name: str) -> None:
        """Build the HNSW graphs of `indexed` vectors and reclaim deleted points.

        This may take long. Searches are correct without it, only slower; a server does it by
        itself.
        """

    def close(self) -> None:
        """Release the store. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class ServerCollections:
    """Sharding and storage of new collections on a server; `qdrant.yaml` explains each value.

    Attributes:
        shards: parts of a collection, distributed over the nodes. replication: copies of each part.
        write_consistency: copies that must hold a write before it counts.
        quantization: quantisation of `indexed` vectors; the full vectors are then on disk.

    Raises StoreError for a write that would wait for more copies than there are.
    """

    shards: int = 1
    replication: int = 1
    write_consistency: int = 1
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if self.write_consistency > self.replication:
            raise StoreError(
                f"expected write_consistency of at most replication ({self.replication}), "
                f"got {self.write_consistency}: no write would ever count"
            )


PLAIN_COLLECTIONS = ServerCollections()


def read_matrix(
    store: VectorStore, name: str, vector: str, where: Where | None = None
) -> tuple[list[str], Vector, list[Mapping[str, object]]]:
    """Read one named vector of all matching points: ids, matrix (N, D) float32, payloads.

    Rows are in the order of ids; points that lack the vector are left out.
    """
    size = check_vector_name(name, vector, store.vector_params(name)).size
    found = [
        point
        for point in store.scroll(name, where, with_vectors=[vector])
        if vector in point.vectors
    ]
    matrix = np.empty((len(found), size), dtype=np.float32)
    for row, point in enumerate(found):
        matrix[row] = point.vectors[vector]
    return [point.id for point in found], matrix, [point.payload for point in found]


def check_vector_name(name: str, vector: str, known: Mapping[str, VectorParams]) -> VectorParams:
    """Return the parameters of a named vector; StoreError lists the known names."""
    if vector not in known:
        raise StoreError(
            f"collection {name!r} has no vector {vector!r}, only: {', '.join(sorted(known))}"
        )
    return known[vector]
