"""Opens the store at a location: an embedded folder or a Qdrant server."""

from __future__ import annotations

import re
from pathlib import Path

from indexer.store.base import PLAIN_COLLECTIONS, ServerCollections, StoreError, VectorStore

_HOST_AND_PORT = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d+")


def open_store(
    location: Path | str,
    *,
    api_key: str | None = None,
    prefer_grpc: bool = True,
    collections: ServerCollections = PLAIN_COLLECTIONS,
) -> VectorStore:
    """Open the store at `location`.

    `http(s)://host[:port]` is a Qdrant server, `:memory:` a temporary store for tests, and anything
    else a folder, which is created if missing. All arguments except `location` concern servers
    only.

    Raises:
        StoreError: `location` is neither; `host:port` is a mistyped URL, unless a folder is there.
    """
    folder = embedded_folder(location)
    if folder is None:
        from indexer.store.server import ServerStore

        return ServerStore(
            _with_lower_scheme(str(location)),
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            collections=collections,
        )
    from indexer.store.edge import EdgeStore

    return EdgeStore(folder)


def embedded_folder(location: Path | str) -> Path | None:
    """Folder of the embedded store that a location names; None if it names a server.

    Raises:
        StoreError: `location` is neither, see `open_store`.
    """
    location = _with_lower_scheme(str(location))
    if location == ":memory:" or location.startswith(("http://", "https://")):
        return None
    if not location or "://" in location:
        raise StoreError(
            f"expected a folder, http://…, https://… or ':memory:' as store, got {location!r}"
        )
    if _HOST_AND_PORT.fullmatch(location) and not Path(location).is_dir():
        raise StoreError(
            f"expected a folder or a URL as store, got {location!r}: a Qdrant server is "
            f"http://{location}, a folder of that name ./{location}"
        )
    return Path(location).expanduser()


def _with_lower_scheme(location: str) -> str:
    scheme, separator, rest = location.partition("://")
    return f"{scheme.lower()}{separator}{rest}" if separator else location
