"""The embedded store: Qdrant's own engine in one process at a time, on one folder."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from indexer.store.base import (
    PayloadIndex,
    Point,
    Range,
    StoreError,
    Vector,
    VectorParams,
    Where,
)
from indexer.store.checked import CheckedStore, Selection
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
    check_collection_name,
    check_process,
    check_same_vectors,
    field_path,
    missing_collection,
    where_clauses,
)

HEADS = "heads"
MAX_OPEN_SHARDS = 16  # an open shard costs about 8 threads, opening one 50 to 100 ms
# Measured at 384 dimensions: 15k to 26k upserts/s for chunks of 16 to 1000 points alike, and
# row.tolist() makes points faster than the array itself (24 against 41 microseconds).
CHUNK_BYTES = 4 << 20


class EdgeStore(CheckedStore):
    """`VectorStore` in a folder. Threads may share it; another process gets a StoreError."""

    chunk_bytes = CHUNK_BYTES

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._process = os.getpid()
        self._guard = threading.RLock()
        self._shards: dict[str, edge.EdgeShard] = {}  # least recently used first
        self._closed = False
        self._lock = take_folder(self.folder)

    @property
    def location(self) -> str:
        """Folder of the store."""
        return str(self.folder)

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""
        with self._engine("listing collections"):
            return sorted(entry.name for entry in self.folder.iterdir() if is_collection(entry))

    def create_collection(
        self,
        name: str,
        vectors: Mapping[str, VectorParams],
        payload_indexes: Mapping[str, PayloadIndex],
    ) -> None:
        """Create a collection; if it exists, add the missing payload indexes."""
        check_collection_name(name)
        with self._engine(f"creating collection {name!r}"):
            if is_collection(self.folder / name):
                check_same_vectors(name, self.vector_params(name), vectors)
                create_indexes(self._shard(name), payload_indexes)
            else:
                make_collection(self.folder / name, vectors, payload_indexes)

    def delete_collection(self, name: str) -> None:
        """Delete a collection with all its points; nothing happens if it does not exist."""
        check_collection_name(name)
        with self._engine(f"deleting collection {name!r}"):
            if is_collection(self.folder / name):
                if name in self._shards:
                    self._shards.pop(name).close()
                drop_collection(self.folder / name)

    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        """Return the named vectors of a collection."""
        with self._engine(f"reading collection {name!r}"):
            return read_params(self._collection(name))

    def payload_indexes(self, name: str) -> Mapping[str, PayloadIndex]:
        """Return the indexed payload fields of a collection; `:memory:` indexes none."""
        with self._engine(f"reading collection {name!r}"):
            return read_indexes(self._shard(name))

    def _write(self, name: str, points: Sequence[Point]) -> None:
        # survives a kill of the process at once, a power cut after `flush`
        drafts = [
            edge.Point(p.id, {k: v.tolist() for k, v in p.vectors.items()}, dict(p.payload))
            for p in points
        ]
        with self._engine(f"writing to collection {name!r}"):
            self._shard(name).update(edge.UpdateOperation.upsert_points(drafts))

    def _erase(self, name: str, where: Where) -> None:
        with self._engine(f"deleting from collection {name!r}"):
            condition = self._filter(name, where)
            assert condition is not None
            self._shard(name).update(edge.UpdateOperation.delete_points_by_filter(condition))

    def _merge(self, name: str, ids: list[str], payload: dict[str, object]) -> None:
        points: list[Any] = list(ids)
        with self._engine(f"setting payload in collection {name!r}"):
            self._shard(name).update(edge.UpdateOperation.set_payload(points, payload))

    def _fetch(self, name: str, ids: list[str], vectors: Selection) -> Sequence[Any]:
        points: list[Any] = list(ids)
        with self._engine(f"reading collection {name!r}"):
            return self._shard(name).retrieve(points, True, vectors)

    def _page(
        self, name: str, where: Where | None, vectors: Selection, size: int, start: Any
    ) -> tuple[Sequence[Any], Any]:
        with self._engine(f"reading collection {name!r}"):
            request = edge.ScrollRequest(
                offset=start,
                limit=size,
                filter=self._filter(name, where),
                with_payload=True,
                with_vector=vectors,
            )
            return self._shard(name).scroll(request)

    def _nearest(
        self, name: str, row: Vector, using: str, top: int, where: Where | None, exact: bool
    ) -> Sequence[Any]:
        # before `optimize` there is no HNSW graph: every search is exact
        with self._engine(f"searching collection {name!r}"):
            request = edge.QueryRequest(
                limit=top,
                query=edge.Query.Nearest(row.tolist(), using=using),
                with_payload=True,
                filter=self._filter(name, where),
                params=self._search_params(exact),
            )
            return self._shard(name).query(request)

    def _search_params(self, exact: bool) -> edge.SearchParams:
        return edge.SearchParams(exact=exact)

    def count(self, name: str, where: Where | None = None) -> int:
        """Exact number of matching points."""
        with self._engine(f"counting in collection {name!r}"):
            request = edge.CountRequest(exact=True, filter=self._filter(name, where))
            return self._shard(name).count(request)

    def head(self, key: str) -> str | None:
        """Value of the head `key`; None until something has moved it."""
        if not is_collection(self.folder / HEADS):
            return None
        found = self.retrieve(HEADS, [_head_id(key)])
        return str(found[0].payload["value"]) if found else None

    def heads(self) -> Mapping[str, str]:
        """Values of all heads by key."""
        if not is_collection(self.folder / HEADS):
            return {}
        points = self.scroll(HEADS)
        return {str(point.payload["key"]): str(point.payload["value"]) for point in points}

    def _move_head(self, key: str, expected: str | None, value: str) -> bool:
        # one process has the folder, so its lock makes the step atomic
        with self._guard:
            if self.head(key) != expected:
                return False
            self.create_collection(HEADS, {}, {})
            self.upsert(HEADS, [Point(_head_id(key), {}, {"key": key, "value": value})])
            self.flush(HEADS)
            return True

    def flush(self, name: str) -> None:
        """Make everything written to the collection durable, which takes about 0.1 s."""
        with self._engine(f"flushing collection {name!r}"):
            self._shard(name).flush()

    def optimize(self, name: str) -> None:
        """Build the HNSW graphs of `indexed` vectors and reclaim deleted points.

        Deleted points are reclaimed once they are a fifth of all and more than 1000.
        """
        with self._engine(f"optimizing collection {name!r}"):
            self._shard(name).optimize()

    def close(self) -> None:
        """Release the store. May be called twice."""
        with self._guard:
            self._closed = True
            while self._shards:
                self._shards.popitem()[1].close()
            self._lock.release()

    @contextmanager
    def _engine(self, doing: str) -> Iterator[None]:
        """Context for one thread at a time in the engine, which holds the GIL anyway."""
        check_process(self._process, self.location)
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
        """Condition on a bool, which reads the field of every point.

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


def _head_id(key: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key))
