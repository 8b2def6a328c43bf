"""What lets a category calibrate again without its image files.

Of every image that calibrates its patch embeddings are kept, as float16 (0.8 MB for 1024 patches of
384 values), and their distances to the memory bank, as float32 (4 KB). The embeddings never change.
New bank patches can only lower a distance, so an addition measures the kept patches against the new
ones alone; a removal measures them against the bank that is left. Which images have none to measure
is told by the short forms of `indexer.bank.pruning` (0.1 MB), kept beside them.

float16 has 11 bits: a distance measured again differs from the first by about a thousandth of the
length of the embeddings at most, in practice by 1e-4 of itself.

The arrays are base64 text in the payload: one point an image, whatever its number of patches, is
read a hundred times faster than a point a patch.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.schema import CatalogEntry, lifetime, patches_collection, point_id, visible
from indexer.store.base import Point, VectorStore

Float32 = NDArray[np.float32]
Kind = Literal[
    "patches",
    "short",
    "axes",
    "whitening",
    "distances",
    "synthetic",
    "synthetic distances",
    "looks",
]

_DTYPES: dict[Kind, Any] = {
    "patches": np.float16,
    "short": np.float16,
    "axes": np.float32,
    "whitening": np.float32,
    "distances": np.float32,
    "synthetic": np.float16,
    "synthetic distances": np.float32,
    "looks": np.float32,
}
_CHUNKS: dict[Kind, int] = {
    "patches": 4,
    "short": 32,
    "axes": 1,
    "whitening": 1,
    "distances": 256,
    "synthetic": 4,
    "synthetic distances": 256,
    "looks": 1000,
}
"""Points a request: about 4 MB of text, where a server takes 32."""


def keep(
    store: VectorStore,
    entry: CatalogEntry,
    kind: Kind,
    arrays: Iterable[tuple[str, Float32]],
) -> None:
    """Write arrays by image id as points of the entry's revision."""
    collection = patches_collection(entry.category, entry.backbone)
    chunk: list[Point] = []
    for key, array in arrays:
        text = base64.b64encode(array.astype(_DTYPES[kind]).tobytes()).decode("ascii")
        payload = {
            "image_id": key,
            "kind": kind,
            "shape": list(array.shape),
            "data": text,
            **lifetime(entry),
        }
        chunk.append(Point(point_id(entry, kind, key), {}, payload))
        if len(chunk) == _CHUNKS[kind]:
            store.upsert(collection, chunk)
            chunk = []
    if chunk:
        store.upsert(collection, chunk)


def read_kept(
    store: VectorStore, entry: CatalogEntry, kind: Kind, image_ids: Sequence[str] | None = None
) -> Iterator[tuple[str, Float32]]:
    """(image id, array float32 as it was given) of the entry's revision, a few held at a time."""
    where: dict[str, Any] = {**visible(entry), "kind": kind}
    if image_ids is not None:
        where["image_id"] = list(image_ids)
    for point in store.scroll(
        patches_collection(entry.category, entry.backbone), where, batch=_CHUNKS[kind]
    ):
        yield str(point.payload["image_id"]), _array(kind, point.payload)


def as_kept(kind: Kind, array: Float32) -> Float32:
    """The array as `read_kept` gives back what `keep` rounds."""
    return array.astype(_DTYPES[kind]).astype(np.float32)


def _array(kind: Kind, payload: Mapping[str, Any]) -> Float32:
    raw = np.frombuffer(base64.b64decode(payload["data"]), dtype=_DTYPES[kind])
    return raw.reshape(payload["shape"]).astype(np.float32)
