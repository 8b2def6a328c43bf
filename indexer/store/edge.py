"""The embedded store: Qdrant's own engine in the process, one folder, one process at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import qdrant_edge as edge

from indexer.store.base import (
    Hit,
    PayloadIndex,
    Point,
    Range,
    StoreError,
    Vector,
    VectorParams,
    Where,
)
from indexer.store.edge_files import (
    create_indexes,
    drop_collection,
    engine_errors,
    is_collection,
    load_shard,
    make_collection,
    read_indexes,
    read_params,
    take_folder,
)
from indexer.store.validation import (
    Match,
    as_point,
    check_collection_name,
    check_id,
    check_same_vectors,
    check_vector,
    checked_chunks,
    field_path,
    missing_collection,
    plain_payload,
    vector_selection,
    where_clauses,
)

MAX_OPEN_SHARDS = 16  # an open shard costs about 8 threads, opening one 50 to 100 ms
# Measured at 384 dimensions: 15k to 26k upserts/s for chunks of 16 to 1000 points alike, and
# row.tolist() makes points faster than the array itself (24 against 41 microseconds).
CHUNK_BYTES, CHUNK_POINTS = 4 << 20, 1000


class EdgeStore:
    """`VectorStore` in a folder. Threads may share it; another process gets a StoreError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._guard = threading.RLock()
        self._shards: dict[str, edge.EdgeShard] = {}  # least recently used first
        self._closed = False
        self._lock = take_folder(self.folder)

    @property
    def location(self) -> str:
        """The folder."""
        return str(self.folder)

    def collections(self) -> list[str]:
        """See `VectorStore`."""
        with self._engine("listing collections"):
            return sorted(entry.name for entry in self.folder.iterdir() if is_collection(entry))

    def create_collection(
        self,
        name: str,
        vectors: Mapping[str, VectorParams],
        payload_indexes: Mapping[str, PayloadIndex],
    ) -> None:
        """See `VectorStore`."""
        check_collection_name(name)
        with self._engine(f"creating collection {name!r}"):
            if is_collection(self.folder / name):
                check_same_vectors(name, self.vector_params(name), vectors)
                create_indexes(self._shard(name), payload_indexes)
            else:
                make_collection(self.folder / name, vectors, payload_indexes)

    def delete_collection(self, name: str) -> None:
        """See `VectorStore`."""
        check_collection_name(name)
        with self._engine(f"deleting collection {name!r}"):
            if is_collection(self.folder / name):
                if name in self._shards:
                    self._shards.pop(name).close()
                drop_collection(self.folder / name)

    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        """See `VectorStore`."""
        with self._engine(f"reading collection {name!r}"):
            return read_params(self._collection(name))

    def payload_indexes(self, name: str) -> Mapping[str, PayloadIndex]:
        """See `VectorStore`."""
        with self._engine(f"reading collection {name!r}"):
            return read_indexes(self._shard(name))

    def upsert(self, name: str, points: Iterable[Point]) -> None:
        """See `VectorStore`. Survives a kill of the process at once, a power cut after `flush`."""
        known = self.vector_params(name)
        for chunk in checked_chunks(
            name, points, known, max_bytes=CHUNK_BYTES, max_points=CHUNK_POINTS
        ):
            with self._engine(f"writing to collection {name!r}"):
                drafts = [
                    edge.Point(p.id, {k: v.tolist() for k, v in p.vectors.items()}, dict(p.payload))
                    for p in chunk
                ]
                self._shard(name).update(edge.UpdateOperation.upsert_points(drafts))

    def delete(self, name: str, where: Where) -> None:
        """See `VectorStore`."""
        if not where:
            raise StoreError("delete needs a condition; delete_collection removes everything")
        with self._engine(f"deleting from collection {name!r}"):
            condition = self._filter(name, where)
            assert condition is not None
            self._shard(name).update(edge.UpdateOperation.delete_points_by_filter(condition))

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, object]) -> None:
        """See `VectorStore`."""
        points, plain = [check_id(point_id) for point_id in ids], plain_payload(payload)
        with self._engine(f"setting payload in collection {name!r}"):
            shard = self._shard(name)
            if points and plain:
                shard.update(edge.UpdateOperation.set_payload(list(points), plain))

    def retrieve(
        self, name: str, ids: Sequence[str], *, with_vectors: bool | Sequence[str] = False
    ) -> list[Point]:
        """See `VectorStore`."""
        wanted = [check_id(point_id) for point_id in ids]
        with self._engine(f"reading collection {name!r}"):
            records = self._shard(name).retrieve(list(wanted), True, vector_selection(with_vectors))
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
        """See `VectorStore`."""
        offset: Any = None
        while True:
            with self._engine(f"reading collection {name!r}"):
                request = edge.ScrollRequest(
                    offset=offset,
                    limit=batch,
                    filter=self._filter(name, where),
                    with_payload=True,
                    with_vector=vector_selection(with_vectors),
                )
                records, offset = self._shard(name).scroll(request)
            yield from map(as_point, records)
            if offset is None:
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
        """See `VectorStore`. Before `optimize` there is no HNSW graph: every search is exact."""
        row = check_vector(name, using, vector, self.vector_params(name))
        with self._engine(f"searching collection {name!r}"):
            request = edge.QueryRequest(
                limit=top,
                query=edge.Query.Nearest(row.tolist(), using=using),
                with_payload=True,
                filter=self._filter(name, where),
                params=edge.SearchParams(exact=exact),
            )
            found = self._shard(name).query(request)
        return [Hit(str(hit.id), hit.score, hit.payload or {}) for hit in found]

    def count(self, name: str, where: Where | None = None) -> int:
        """See `VectorStore`."""
        with self._engine(f"counting in collection {name!r}"):
            request = edge.CountRequest(exact=True, filter=self._filter(name, where))
            return self._shard(name).count(request)

    def flush(self, name: str) -> None:
        """See `VectorStore`. Takes about 0.1 s."""
        with self._engine(f"flushing collection {name!r}"):
            self._shard(name).flush()

    def optimize(self, name: str) -> None:
        """See `VectorStore`. Deleted points are reclaimed once they are a fifth and over 1000."""
        with self._engine(f"optimizing collection {name!r}"):
            self._shard(name).optimize()

    def close(self) -> None:
        """See `VectorStore`."""
        with self._guard:
            self._closed = True
            while self._shards:
                self._shards.popitem()[1].close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _engine(self, doing: str) -> Iterator[None]:
        """One thread at a time in the engine (it holds the GIL anyway), errors in one line."""
        with self._guard:
            if self._closed:
                raise StoreError(f"store {self.folder} is closed: open it again")
            with engine_errors(f"{doing} in {self.folder} failed"):
                yield

    def _collection(self, name: str) -> Path:
        folder = self.folder / check_collection_name(name)
        if not is_collection(folder):
            raise missing_collection(name, self.location)
        return folder

    def _shard(self, name: str) -> edge.EdgeShard:
        folder = self._collection(name)
        shard = self._shards.pop(name, None)
        if shard is None:
            while len(self._shards) >= MAX_OPEN_SHARDS:
                self._shards.pop(next(iter(self._shards))).close()
            shard = load_shard(folder)
        self._shards[name] = shard
        return shard

    def _filter(self, name: str, where: Where | None) -> edge.Filter | None:
        if not where:
            return None
        must, must_not = where_clauses(where)
        return edge.Filter(
            must=[self._condition(name, *clause) for clause in must],
            must_not=[self._condition(name, *clause) for clause in must_not],
        )

    def _condition(
        self, name: str, field: str, value: Match
    ) -> edge.FieldCondition | edge.HasIdCondition:
        path = field_path(field)
        if isinstance(value, bool):
            return self._bool_condition(name, field, value)
        if isinstance(value, Range):
            bounds = edge.RangeFloat(gte=value.gte, gt=value.gt, lte=value.lte, lt=value.lt)
            return edge.FieldCondition(path, range=bounds)
        if isinstance(value, list):
            return edge.FieldCondition(path, match=edge.MatchAny(value))
        return edge.FieldCondition(path, match=edge.MatchValue(value))

    def _bool_condition(self, name: str, field: str, flag: bool) -> edge.HasIdCondition:
        """Match a bool by reading the field of every point.

        qdrant_edge 0.9.0 turns MatchValue(True) into the integer 1, which no bool equals.
        """
        request = edge.ScrollRequest(
            limit=self._shard(name).count(edge.CountRequest()) + 1, with_payload=[field_path(field)]
        )
        matching: set[Any] = set()
        for record in self._shard(name).scroll(request)[0]:
            value = (record.payload or {}).get(field)
            if any(member is flag for member in (value if isinstance(value, list) else [value])):
                matching.add(record.id)
        return edge.HasIdCondition(matching)
