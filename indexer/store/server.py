"""The served store: any Qdrant server or cluster by URL, or the client's `:memory:` for tests."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from qdrant_client import models

from indexer.store.base import (
    PLAIN_COLLECTIONS,
    PayloadIndex,
    Point,
    ServerCollections,
    StoreError,
    Vector,
    VectorParams,
    Where,
)
from indexer.store.checked import CheckedStore, Selection
from indexer.store.server_connection import MEMORY, connect, explain
from indexer.store.server_models import (
    DISTANCES,
    create_alias,
    filter_of,
    rename_alias,
    search_params,
    vectors_config,
)
from indexer.store.validation import (
    check_collection_name,
    check_process,
    check_same_vectors,
    field_path,
    plain_field,
)

HEAD = "--head"
"""Suffix of the collection whose alias is the head of a key."""
OLDEST_SERVER = (1, 17, 1)  # 1.17.0 can lose its write-ahead log
GRPC_CHUNK_BYTES = 16 << 20  # raw floats a request
REST_CHUNK_BYTES = 4 << 20  # JSON takes five times that, and the server refuses 32 MiB
INDEX_KINDS: tuple[PayloadIndex, ...] = ("keyword", "integer", "float", "bool", "datetime")
INDEX_NAMES = {models.PayloadSchemaType(kind): kind for kind in INDEX_KINDS}
DISTANCE_NAMES = {distance: name for name, distance in DISTANCES.items()}


class ServerStore(CheckedStore):
    """`VectorStore` on a Qdrant server, for any number of processes.

    gRPC is expected on the port after that of the URL (6333 and 6334 by default). Writes return
    once the server has applied them, so that `flush` and `optimize` have nothing to do.
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
        self._process = os.getpid()
        self._made = collections
        self._memory = url == MEMORY
        self.chunk_bytes = GRPC_CHUNK_BYTES if prefer_grpc else REST_CHUNK_BYTES
        with self._calls():
            self._client = connect(url, api_key, prefer_grpc)
        try:
            with self._calls():
                self._check_version()
                self._client.get_collections()  # the version can be read without a key, this cannot
        except StoreError:
            self.close()
            raise

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""
        with self._calls():
            return sorted(item.name for item in self._client.get_collections().collections)

    def create_collection(
        self,
        name: str,
        vectors: Mapping[str, VectorParams],
        payload_indexes: Mapping[str, PayloadIndex],
    ) -> None:
        """Create a collection; if it exists, add the missing payload indexes."""
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
        """Delete a collection with all its points; nothing happens if it does not exist."""
        check_collection_name(name)
        with self._calls():
            self._client.delete_collection(name)

    def vector_params(self, name: str) -> Mapping[str, VectorParams]:
        """Return the named vectors of a collection."""
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
        """Return the indexed payload fields of a collection; `:memory:` indexes none."""
        with self._calls():
            schema = self._client.get_collection(name).payload_schema
        kinds = ((plain_field(path), info.data_type) for path, info in schema.items())
        return {field: INDEX_NAMES[kind] for field, kind in kinds if kind in INDEX_NAMES}

    def _write(self, name: str, points: Sequence[Point]) -> None:
        drafts = [
            models.PointStruct(
                id=point.id,
                vector={key: row.tolist() for key, row in point.vectors.items()},
                payload=dict(point.payload),
            )
            for point in points
        ]
        with self._calls():
            self._client.upsert(name, drafts, wait=True)

    def _erase(self, name: str, where: Where) -> None:
        condition = filter_of(where)
        assert condition is not None
        with self._calls():
            self._client.delete(name, models.FilterSelector(filter=condition), wait=True)

    def _merge(self, name: str, ids: list[str], payload: dict[str, object]) -> None:
        with self._calls():
            self._client.set_payload(name, payload, points=list(ids), wait=True)

    def _fetch(self, name: str, ids: list[str], vectors: Selection) -> Sequence[Any]:
        with self._calls():
            return self._client.retrieve(name, list(ids), with_payload=True, with_vectors=vectors)

    def _page(
        self, name: str, where: Where | None, vectors: Selection, size: int, start: Any
    ) -> tuple[Sequence[Any], Any]:
        with self._calls():
            return self._client.scroll(
                name,
                scroll_filter=filter_of(where),
                limit=size,
                offset=start,
                with_payload=True,
                with_vectors=vectors,
            )

    def _nearest(
        self, name: str, row: Vector, using: str, top: int, where: Where | None, exact: bool
    ) -> Sequence[Any]:
        with self._calls():
            return self._client.query_points(
                name,
                query=row.tolist(),
                using=using,
                limit=top,
                query_filter=filter_of(where),
                search_params=None if self._memory else search_params(exact),
                with_payload=True,
            ).points

    def count(self, name: str, where: Where | None = None) -> int:
        """Exact number of matching points."""
        with self._calls():
            return self._client.count(name, count_filter=filter_of(where), exact=True).count

    def head(self, key: str) -> str | None:
        """Value of the head `key`; None until something has moved it."""
        return self.heads().get(key)

    def heads(self) -> Mapping[str, str]:
        """Values of all heads by key.

        Each value is carried by an alias of the empty collection KEY--head.
        """
        with self._calls():
            aliases = self._client.get_aliases().aliases
        return {
            found.collection_name.removesuffix(HEAD): found.alias_name.removeprefix(
                f"{found.collection_name}--"
            )
            for found in aliases
            if found.collection_name.endswith(HEAD)
        }

    def _move_head(self, key: str, expected: str | None, value: str) -> bool:
        # the cluster's consensus decides which writer renames the alias first
        head = f"{key}{HEAD}"
        new = f"{head}--{value}"
        if expected is None and not self._first_head(key):
            return False
        try:
            with self._calls():
                self._client.update_collection_aliases(
                    [
                        create_alias(head, new)
                        if expected is None
                        else rename_alias(f"{head}--{expected}", new)
                    ]
                )
        except StoreError:
            # the answer may be lost although the step was taken
            now = self.head(key)
            if now == expected:
                raise
            return now == value
        return True

    def _first_head(self, key: str) -> bool:
        """True for the one writer that may set the head for the first time.

        Aliases are overwritten silently, but a collection can be created only once.
        """
        try:
            with self._calls():
                self._client.create_collection(f"{key}{HEAD}", vectors_config={})
        except StoreError as error:
            if "already exists" not in str(error):
                raise
            if self.head(key) is None:
                raise StoreError(
                    f"the first step of {key} in {self.location} is in progress or was "
                    "interrupted: if no other process is taking it, delete the collection "
                    f"{key}{HEAD} and run again"
                ) from error
            return False
        return True

    def flush(self, name: str) -> None:
        """Do nothing: writes are durable once the server has applied them."""
        with self._calls():
            self._client.get_collection(name)

    def optimize(self, name: str) -> None:
        """Do nothing: the server builds its graphs by itself."""
        self.flush(name)

    def close(self) -> None:
        """Release the store. May be called twice."""
        with self._calls():
            self._client.close()

    @contextmanager
    def _calls(self) -> Iterator[None]:
        """Turn every error of the client into StoreError, in this one place."""
        check_process(self._process, self.location)
        try:
            if not self._memory:
                yield
                return
            with warnings.catch_warnings():  # it warns that it is slow above 20,000 points
                warnings.simplefilter("ignore")
                yield
        except StoreError:
            raise
        except Exception as error:
            raise explain(error, self.location) from error

    def _check_version(self) -> None:
        version = self._client.info().version
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
        if not self._memory and not (found and tuple(map(int, found.groups())) >= OLDEST_SERVER):
            oldest = ".".join(map(str, OLDEST_SERVER))
            raise StoreError(
                f"Qdrant server {self.location} is version {version or 'unknown'}, expected "
                f"{oldest} or newer: update the server"
            )
