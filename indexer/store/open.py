"""Opens the store that a location names: an embedded folder or a Qdrant server."""

from __future__ import annotations

from pathlib import Path

from indexer.store.base import PLAIN_COLLECTIONS, ServerCollections, StoreError, VectorStore


def open_store(
    location: Path | str,
    *,
    api_key: str | None = None,
    prefer_grpc: bool = True,
    collections: ServerCollections = PLAIN_COLLECTIONS,
) -> VectorStore:
    """Open the store at `location`.

    `http(s)://host[:port]` is a Qdrant server, `:memory:` a throw-away store for tests, anything
    else a folder, created when missing. All but `location` concerns servers only.
    """
    location = str(location)
    if location == ":memory:" or location.startswith(("http://", "https://")):
        from indexer.store.server import ServerStore

        return ServerStore(
            location, api_key=api_key, prefer_grpc=prefer_grpc, collections=collections
        )
    if not location or "://" in location:
        raise StoreError(
            f"expected a folder, http://…, https://… or ':memory:' as store, got {location!r}"
        )
    from indexer.store.edge import EdgeStore

    return EdgeStore(Path(location).expanduser())
