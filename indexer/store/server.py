"""The served store: any Qdrant server or cluster by URL, or the client's `:memory:` for tests."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from qdrant_client import QdrantClient, models

from indexer.store.base import (
    PLAIN_COLLECTIONS,
    Hit,
    PayloadIndex,
    Point,
    ServerCollections,
    StoreError,
    Vector,
    VectorParams,
    Where,
)
from indexer.store.server_models import DISTANCES, filter_of, search_params, vectors_config
from indexer.store.validation import (
    as_point,
    check_collection_name,
    check_id,
    check_same_vectors,
    check_vector,
    checked_chunks,
    field_path,
    missing_collection,
    plain_field,
    plain_payload,
    vector_selection,
)

MEMORY = ":memory:"
OLDEST_SERVER = (1, 17, 1)  # 1.17.0 can lose its write-ahead log
TIMEOUT_S = 60
GRPC_CHUNK_BYTES = 16 << 20  # raw floats a request
REST_CHUNK_BYTES = 4 << 20  # JSON takes five times that, and the server refuses 32 MiB
CHUNK_POINTS = 1000
INDEX_KINDS: tuple[PayloadIndex, ...] = ("keyword", "integer", "float", "bool", "datetime")
INDEX_NAMES = {models.PayloadSchemaType(kind): kind for kind in INDEX_KINDS}
DISTANCE_NAMES = {distance: name for name, distance in DISTANCES.items()}
HTTP_STATUS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class ServerStore:
    """`VectorStore` on a Qdrant server, for any number of processes.

    gRPC is expected on the port after the one of the URL (6333 and 6334 by default). Writes
    return when the server has applied them, so `flush` and `optimize` have nothing left to do.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        prefer_grpc: bool = True,
        collections: ServerCollections = PLAIN_COLLECTIONS,
    ) -> None:
        self.location = url
        self._made = collections
        self._memory = url == MEMORY
        self._chunk_bytes = GRPC_CHUNK_BYTES if prefer_grpc else REST_CHUNK_BYTES
        with self._calls():
            self._client = _connect(url, api_key, prefer_grpc)
        try:
            with self._calls():
                self._check_version()
                self._client.get_collections()  # the version is told without a key, this is not
        except StoreError:
            self.close()
            raise

    def collections(self) -> list[str]:
        """See `VectorStore`."""
        with self._calls():
            return sorted(item.name for item in self._client.get_collections().collections)

    def create_collection(
        self,
        name: str,
        vectors: Mapping[str, VectorParams],
        payload_indexes: Mapping[str, PayloadIndex],
    ) -> None:
        """See `VectorStore`."""
        check_collection_name(name)
        with self._calls():
            if self._client.collection_exists(name):
                check_same_vectors(name, self.vector_params(name), vectors)
            else:
                self._client.create_collection(
                    name,
                    vectors_config=vectors_config(vectors, self._made.quantization),
                    shard_number=self._made.shards,
                    replication_factor=self._made.replication,
                    write_consistency_factor=self._made.write_consistency,
                )
            if self._memory:
                return
            for field in sorted(payload_indexes.keys() - self.payload_indexes(name).keys()):
                schema = models.PayloadSchemaType(payload_indexes[field])
                self._client.create_payload_index(name, field_path(field), schema, wait=True)

    def delete_collection(self, name: str) -> None:
        """See `VectorStore`."""
        check_collection_name(name)
        with self._calls():
            self._client.delete_collection(name)

    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        """See `VectorStore`."""
        with self._calls():
            vectors = self._client.get_collection(name).config.params.vectors
        if isinstance(vectors, models.VectorParams):
            raise StoreError(f"collection {name!r} of {self.location} was not made by vecspect")
        return {
            key: VectorParams(
                params.size,
                DISTANCE_NAMES[params.distance],
                params.hnsw_config is None or params.hnsw_config.m != 0,
            )
            for key, params in (vectors or {}).items()
        }

    def payload_indexes(self, name: str) -> Mapping[str, PayloadIndex]:
        """See `VectorStore`."""
        with self._calls():
            schema = self._client.get_collection(name).payload_schema
        kinds = ((plain_field(path), info.data_type) for path, info in schema.items())
        return {field: INDEX_NAMES[kind] for field, kind in kinds if kind in INDEX_NAMES}

    def upsert(self, name: str, points: Iterable[Point]) -> None:
        """See `VectorStore`."""
        known = self.vector_params(name)
        for chunk in checked_chunks(
            name, points, known, max_bytes=self._chunk_bytes, max_points=CHUNK_POINTS
        ):
            drafts = [
                models.PointStruct(
                    id=point.id,
                    vector={key: row.tolist() for key, row in point.vectors.items()},
                    payload=dict(point.payload),
                )
                for point in chunk
            ]
            with self._calls():
                self._client.upsert(name, drafts, wait=True)

    def delete(self, name: str, where: Where) -> None:
        """See `VectorStore`."""
        condition = filter_of(where)
        if condition is None:
            raise StoreError("delete needs a condition; delete_collection removes everything")
        with self._calls():
            self._client.delete(name, models.FilterSelector(filter=condition), wait=True)

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, object]) -> None:
        """See `VectorStore`."""
        points, plain = [check_id(point_id) for point_id in ids], plain_payload(payload)
        if not (points and plain):
            return
        with self._calls():
            self._client.set_payload(name, plain, points=list(points), wait=True)

    def retrieve(
        self, name: str, ids: Sequence[str], *, with_vectors: bool | Sequence[str] = False
    ) -> list[Point]:
        """See `VectorStore`."""
        wanted = [check_id(point_id) for point_id in ids]
        with self._calls():
            records = self._client.retrieve(
                name, list(wanted), with_payload=True, with_vectors=vector_selection(with_vectors)
            )
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
        condition, offset = filter_of(where), None
        while True:
            with self._calls():
                records, offset = self._client.scroll(
                    name,
                    scroll_filter=condition,
                    limit=batch,
                    offset=offset,
                    with_payload=True,
                    with_vectors=vector_selection(with_vectors),
                )
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
        """See `VectorStore`."""
        row = check_vector(name, using, vector, self.vector_params(name))
        with self._calls():
            found = self._client.query_points(
                name,
                query=row.tolist(),
                using=using,
                limit=top,
                query_filter=filter_of(where),
                search_params=None if self._memory else search_params(exact),
                with_payload=True,
            ).points
        return [Hit(str(hit.id), hit.score, hit.payload or {}) for hit in found]

    def count(self, name: str, where: Where | None = None) -> int:
        """See `VectorStore`."""
        with self._calls():
            return self._client.count(name, count_filter=filter_of(where), exact=True).count

    def flush(self, name: str) -> None:
        """See `VectorStore`."""
        with self._calls():
            self._client.get_collection(name)

    def optimize(self, name: str) -> None:
        """See `VectorStore`."""
        self.flush(name)

    def close(self) -> None:
        """See `VectorStore`."""
        with self._calls():
            self._client.close()

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
    def _calls(self) -> Iterator[None]:
        """Turn everything the client raises into StoreError, here and nowhere else."""
        try:
            if not self._memory:
                yield
                return
            with warnings.catch_warnings():  # it warns of its own slowness from 20,000 points on
                warnings.simplefilter("ignore")
                yield
        except StoreError:
            raise
        except Exception as error:
            raise _explain(error, self.location) from error

    def _check_version(self) -> None:
        version = self._client.info().version
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
        if not self._memory and not (found and tuple(map(int, found.groups())) >= OLDEST_SERVER):
            oldest = ".".join(map(str, OLDEST_SERVER))
            raise StoreError(
                f"Qdrant server {self.location} is version {version or 'unknown'}, expected "
                f"{oldest} or newer: update the server"
            )


def _connect(url: str, api_key: str | None, prefer_grpc: bool) -> QdrantClient:
    if url == MEMORY:
        return QdrantClient(MEMORY)
    port = urlsplit(url).port or 6333
    with warnings.catch_warnings():  # a key over http is the caller's choice, on a private network
        warnings.simplefilter("ignore")
        return QdrantClient(
            url=url,
            port=port,
            grpc_port=port + 1,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            timeout=TIMEOUT_S,
            check_compatibility=False,
        )


def _explain(error: Exception, location: str) -> StoreError:
    """Say in one line what happened and what to do, whichever way the client was told."""
    code = getattr(error, "code", None)  # gRPC errors have code() and details()
    status = code().name if callable(code) else ""
    status = HTTP_STATUS.get(getattr(error, "status_code", 0), status)
    if type(error).__name__ == "ResponseHandlingException":
        status = "UNAVAILABLE"
    details = getattr(error, "details", None)
    text = " ".join(str(details() if callable(details) else error).split())
    missing = re.search(r"[Cc]ollection `?([^\s`]+)`? (?:doesn't exist|not found)", text)
    if missing:
        return missing_collection(missing[1], location)
    if isinstance(error, KeyError):
        return StoreError(f"store {location}: no point with id {error}")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return StoreError(f"Qdrant server {location} refuses the API key: set the right one")
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return StoreError(
            f"no answer from Qdrant server {location} ({text[:200]}): check that it runs there, "
            "and that gRPC is open on the next port or switched off"
        )
    return StoreError(f"store {location}: {text[:300] or type(error).__name__}")
