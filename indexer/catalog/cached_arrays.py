"""Arrays cached with a category, so that it can be recalibrated without its image files.

For every calibration image, the patch embeddings are cached as float16 (0.8 MB for 1024 patches of
384 values), and their distances to the memory bank as float32 (4 KB). The embeddings never change.
New bank patches can only lower a distance, so an addition measures the cached patches only against
the new ones; a removal measures them against the bank that is left. The PCA lower bounds of
`indexer.bank.pruning` (0.1 MB), cached with them, tell which images need no measurement. float16
has 11 bits: a repeated measurement differs from the first by at most about a thousandth of the
length of the embeddings, in practice by 1e-4 of the distance.

The arrays are base64 text in the payload, cut into pieces of at most `PIECE_BYTES`, so that no
request grows with the image; one point per piece is read a hundred times faster than one per patch.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.category import Category
from indexer.store.base import Point

Float32 = NDArray[np.float32]
Kind = Literal[
    "patches",
    "projections",
    "axes",
    "whitening",
    "distances",
    "synthetic",
    "synthetic distances",
    "quality",
]

PIECE_BYTES = 1 << 20
"""Raw bytes per point: four points make a request of 6 MB of text; a server accepts 32 MB."""
REQUEST_BYTES = 4 * PIECE_BYTES
_HALF: frozenset[Kind] = frozenset({"patches", "projections", "synthetic"})
_BATCHES: dict[Kind, int] = {"patches": 4, "synthetic": 4, "projections": 32}
"""Points read at once if they are large."""


def write_cached(category: Category, kind: Kind, arrays: Iterable[tuple[str, Float32]]) -> None:
    """Write arrays by image id as points of the category's revision."""
    chunk: list[Point] = []
    held = 0
    for key, array in arrays:
        for point, size in _pieces(category, kind, key, array):
            if chunk and held + size > REQUEST_BYTES:
                category.store.upsert(category.cached, chunk)
                chunk, held = [], 0
            chunk.append(point)
            held += size
    if chunk:
        category.store.upsert(category.cached, chunk)


def read_cached(
    category: Category, kind: Kind, image_ids: Sequence[str] | None = None
) -> Iterator[tuple[str, Float32]]:
    """(image id, float32 array of the original shape) of the category's revision, in batches."""
    where: dict[str, Any] = {**category.visible, "kind": kind}
    if image_ids is not None:
        where["image_id"] = list(image_ids)
    batch = _BATCHES.get(kind, 256)
    for point in category.store.scroll(category.cached, {**where, "piece": 0}, batch=batch):
        payload = point.payload
        key, pieces = str(payload["image_id"]), {0: _bytes(payload["data"])}
        if payload["pieces"] != 1:
            whole = {**where, "image_id": key}
            for more in category.store.scroll(category.cached, whole, batch=batch):
                pieces[int(str(more.payload["piece"]))] = _bytes(more.payload["data"])
        raw = b"".join(pieces[number] for number in sorted(pieces))
        shape: Any = payload["shape"]
        yield key, np.frombuffer(raw, _dtype(kind)).reshape(shape).astype(np.float32)


def as_cached(kind: Kind, array: Float32) -> Float32:
    """The array as `read_cached` returns it after the rounding of `write_cached`."""
    return array.astype(_dtype(kind)).astype(np.float32)


def _pieces(
    category: Category, kind: Kind, key: str, array: Float32
) -> Iterator[tuple[Point, int]]:
    raw = array.astype(_dtype(kind)).tobytes()
    starts = range(0, max(len(raw), 1), PIECE_BYTES)
    for number, start in enumerate(starts):
        part = raw[start : start + PIECE_BYTES]
        payload = {
            "image_id": key,
            "kind": kind,
            "piece": number,
            "pieces": len(starts),
            "shape": list(array.shape),
            "data": base64.b64encode(part).decode("ascii"),
            **category.lifetime,
        }
        yield Point(category.point_id(kind, key, number), {}, payload), len(part)


def _bytes(text: object) -> bytes:
    return base64.b64decode(str(text))


def _dtype(kind: Kind) -> type[np.floating[Any]]:
    return np.float16 if kind in _HALF else np.float32
