"""Files of an embedded store: the lock on its folder, and how collections are made and removed.

A store folder holds `.lock` and one sub-folder per collection: the engine's shard beside
`collection.json`, which records what the engine cannot tell. A collection is made in a `.creating-`
folder and renamed when complete, and renamed to `.deleting-` before it is removed, so that a kill
in between leaves either the whole collection or a remnant that the next open clears.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import portalocker
import qdrant_edge as edge

from indexer.store.base import PayloadIndex, StoreError, VectorParams
from indexer.store.validation import field_path, plain_field

LOCK = ".lock"
MARKER = "collection.json"
CREATING, DELETING = ".creating-", ".deleting-"
DISTANCES = {
    "euclid": edge.Distance.Euclid,
    "cosine": edge.Distance.Cosine,
    "dot": edge.Distance.Dot,
}
INDEXES: dict[PayloadIndex, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
}
NO_HNSW = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)


@contextmanager
def engine_errors(message: str) -> Iterator[None]:
    """Turn errors of the engine or the disk into `StoreError(message: reason)`, in one line."""
    try:
        yield
    except StoreError:
        raise
    except BaseException as error:  # a panic in the engine is not an Exception
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise StoreError(f"{message}: {' '.join(str(error).split())}") from error
        raise


def take_folder(folder: Path) -> portalocker.Lock[Any]:
    """Create the folder if needed, lock it for this process, and clear what a kill left behind.

    Returns the lock to release; the system releases it when the process ends, however it ends.
    Raises StoreError when the folder holds other things, is in use, or cannot be written.
    """
    lock: portalocker.Lock[Any] = portalocker.Lock(
        folder / LOCK, mode="a+", timeout=0, fail_when_locked=True, encoding="utf-8"
    )
    with engine_errors(f"cannot use {folder} as store"):
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(entry.name for entry in folder.iterdir() if not _is_ours(entry))
        if foreign:
            raise StoreError(
                f"{folder} is not a vecspect store: it holds {foreign[0]!r}; "
                "name an empty or new folder as store"
            )
        try:
            file = lock.acquire()
        except portalocker.AlreadyLocked as error:
            raise StoreError(_who_holds(folder)) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        for leftover in [*folder.glob(f"{CREATING}*"), *folder.glob(f"{DELETING}*")]:
            shutil.rmtree(leftover, ignore_errors=True)
    return lock


def is_collection(folder: Path) -> bool:
    """True if this folder is a complete collection."""
    return (folder / MARKER).is_file()


def read_params(folder: Path) -> dict[str, VectorParams]:
    """Read the named vectors of a collection from its marker file."""
    marker = json.loads((folder / MARKER).read_text("utf-8"))
    return {key: VectorParams(**params) for key, params in marker["vectors"].items()}


def make_collection(
    folder: Path, vectors: Mapping[str, VectorParams], indexes: Mapping[str, PayloadIndex]
) -> None:
    """Create a collection folder: complete and durable when this returns, absent before."""
    draft = folder.with_name(f"{CREATING}{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    shard = edge.EdgeShard.create(str(draft), _config(vectors))
    create_indexes(shard, indexes)
    shard.flush()
    shard.close()
    marker = {"vectors": {key: asdict(params) for key, params in vectors.items()}}
    with (draft / MARKER).open("w", encoding="utf-8") as file:
        json.dump(marker, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder)
    _sync_folder(folder.parent)


def drop_collection(folder: Path) -> None:
    """Remove a collection folder whose shard is closed, as a whole or not at all."""
    doomed = folder.with_name(f"{DELETING}{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    _sync_folder(folder.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def load_shard(folder: Path) -> edge.EdgeShard:
    """Open the shard of a collection, or raise a StoreError that names its folder."""
    with engine_errors(
        f"collection folder {folder} cannot be opened; if it is damaged, restore it from a copy or "
        "delete it and build the index again"
    ):
        # The engine would open a collection without its segments as an empty one.
        if not any((folder / "segments").iterdir()):
            raise FileNotFoundError("its segments are gone")
        return edge.EdgeShard.load(str(folder))


def read_indexes(shard: edge.EdgeShard) -> dict[str, PayloadIndex]:
    """Read which payload fields are indexed."""
    kinds = {str(kind): name for name, kind in INDEXES.items()}
    schema = shard.info().payload_schema
    return {plain_field(path): kinds[str(info.data_type)] for path, info in schema.items()}


def create_indexes(shard: edge.EdgeShard, indexes: Mapping[str, PayloadIndex]) -> None:
    """Index payload fields; nothing happens for fields that are indexed already."""
    for field, kind in indexes.items():
        shard.update(edge.UpdateOperation.create_field_index(field_path(field), INDEXES[kind]))


def copy_store(source: Path, target: Path) -> Path:
    """Copy the folder of a store; ``target`` must not exist.

    If another process writes to the store, the copy holds what was committed before and perhaps
    some of what is being written, which readers of a revision do not see.
    """
    copy = _copy_without_holes if hasattr(os, "SEEK_DATA") else shutil.copyfile
    return shutil.copytree(source, target, copy_function=copy)


def _is_ours(entry: Path) -> bool:
    if entry.name.startswith("."):
        return entry.name in (LOCK, ".DS_Store") or entry.name.startswith((CREATING, DELETING))
    return is_collection(entry)


def _who_holds(folder: Path) -> str:
    holder = ""
    with suppress(OSError):
        holder = (folder / LOCK).read_text("utf-8").strip()
    return (
        f"store {folder} is held by {holder or 'another process'}: close it first, or use a "
        "Qdrant server, which serves several processes (--store http://host:6333)"
    )


def _config(vectors: Mapping[str, VectorParams]) -> edge.EdgeConfig:
    indexed = any(params.indexed for params in vectors.values())
    return edge.EdgeConfig(
        vectors={
            key: edge.EdgeVectorParams(
                size=params.size,
                distance=DISTANCES[params.distance],
                hnsw_config=None if params.indexed else NO_HNSW,
            )
            for key, params in vectors.items()
        },
        # The engine refuses a collection without any vector; this one stays unused.
        sparse_vectors=None if vectors else {"none": edge.EdgeSparseVectorParams()},
        optimizers=None if indexed else edge.EdgeOptimizersConfig(indexing_threshold=0),
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows cannot and need not open a folder for this."""
    with suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _copy_without_holes(source: str, target: str) -> None:
    """Copy only the data of a sparse file: a small store is 2 MB of data in 450 MB of files."""
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        end = 0
        while end < size:
            try:
                start = os.lseek(reader.fileno(), end, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            writer.write(reader.read(end - start))
        writer.truncate(size)
