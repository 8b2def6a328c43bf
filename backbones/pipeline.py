"""From image files to features: decoding in threads, batches in order, bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Float32
from backbones.decode import image_quality, load_image
from backbones.errors import ImageError
from backbones.geometry import Size, to_input

BATCH = 8
DECODERS = 2


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What one file gives, all arrays float32.

    Attributes:
        width, height: of the original upright image, in pixels.
        patches: (H, W, D) patch embeddings.
        image: (E,) image embedding.
        quality: (2,) `image_quality` of the network's input.
    """

    path: Path
    width: int
    height: int
    patches: Float32
    image: Float32
    quality: Float32

    @property
    def size(self) -> Size:
        """Height and width of the original upright image, in pixels."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be used, and why, in one line."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class _Decoded:
    path: Path
    width: int
    height: int
    pixels: NDArray[np.uint8]
    quality: Float32


def embed_files(
    backbone: Backbone, paths: Iterable[Path], *, batch: int = BATCH
) -> Iterator[ImageFeatures | Skipped]:
    """Features of each file, or why it was skipped, in the order of ``paths``.

    At most ``2 * batch`` decoded images are held, whatever the number of files.
    """
    waiting: deque[_Decoded | Skipped] = deque()
    for item in _decode(paths, backbone.spec, ahead=batch):
        waiting.append(item)
        if sum(isinstance(w, _Decoded) for w in waiting) == batch:
            yield from _embed(backbone, waiting)
            waiting.clear()
    yield from _embed(backbone, waiting)


def _decode(paths: Iterable[Path], spec: BackboneSpec, ahead: int) -> Iterator[_Decoded | Skipped]:
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        pending: deque[Future[_Decoded | Skipped]] = deque()
        try:
            for path in paths:
                pending.append(pool.submit(_decode_one, path, spec))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _decode_one(path: Path, spec: BackboneSpec) -> _Decoded | Skipped:
    try:
        loaded = load_image(path, size_hint=spec.input_size)
    except ImageError as error:
        return Skipped(path, str(error))
    pixels = to_input(loaded.pixels, spec.input_size, spec.crop)
    return _Decoded(path, loaded.width, loaded.height, pixels, image_quality(pixels))


def _embed(
    backbone: Backbone, items: Collection[_Decoded | Skipped]
) -> Iterator[ImageFeatures | Skipped]:
    decoded = [item.pixels for item in items if isinstance(item, _Decoded)]
    embedded: Iterator[tuple[Float32, Float32]] = iter(())
    if decoded:
        features = backbone.embed(np.stack(decoded))
        embedded = zip(features.patches, features.images, strict=True)
    for item in items:
        if isinstance(item, Skipped):
            yield item
        else:
            patches, image = next(embedded)
            yield ImageFeatures(item.path, item.width, item.height, patches, image, item.quality)
