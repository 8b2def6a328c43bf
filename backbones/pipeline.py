"""Turns images into features: decodes in threads, batches in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.base import Backbone, BackboneSpec, Float32
from backbones.decode import HashedFile, ImageInput, image_quality, load_image, path_of
from backbones.errors import ImageError
from backbones.geometry import Size, to_input

BATCH = 8
DECODERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInput:
    """An image as a network takes it, with everything from decoding it once.

    Attributes:
        path, width, height, sha256: see `LoadedImage`.
        pixels: (H, W, 3) uint8 of the spec's ``shape``.
        quality: (2,) float32 `image_quality` of these.
        source: source of its full pixels: the file, its bytes, or the upright image.
    """

    path: Path
    width: int
    height: int
    sha256: str
    pixels: NDArray[np.uint8]
    quality: Float32
    source: Path | bytes | Image.Image


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """Features of one image; all arrays are float32.

    Attributes:
        path: the file; ``<bytes>``, ``<image>`` or ``<array>`` for an image in memory.
        width, height: size of the original upright image, in pixels.
        sha256: see `LoadedImage`.
        patches: (H, W, D) patch embeddings.
        image: (E,) image embedding.
        quality: (2,) `image_quality` of the network's input.
        source: source of its full pixels: the file, its bytes, or the upright image.
    """

    path: Path
    width: int
    height: int
    sha256: str
    patches: Float32
    image: Float32
    quality: Float32
    source: Path | bytes | Image.Image

    @property
    def size(self) -> Size:
        """Height and width of the original upright image, in pixels."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be used, and the reason in one line."""

    path: Path
    reason: str


def network_input(image: ImageInput, spec: BackboneSpec) -> NetworkInput:
    """Decode, hash and measure an image for a network.

    Raises:
        ImageError: one line without the path, whatever is wrong with the image.
    """
    loaded = load_image(image, size_hint=spec.input_size)
    pixels = to_input(loaded.pixels, spec.input_size, spec.crop)
    # not the array itself, because cameras write their next frame into it
    source = image if isinstance(image, bytes) else loaded.pixels
    return NetworkInput(
        path=loaded.path,
        width=loaded.width,
        height=loaded.height,
        sha256=loaded.sha256,
        pixels=pixels,
        quality=image_quality(pixels),
        source=loaded.path if isinstance(image, str | Path | HashedFile) else source,
    )


def embed_image(backbone: Backbone, image: ImageInput) -> ImageFeatures:
    """Features of one image; ImageError, beginning with its path, if it cannot be read."""
    item = _input_or_reason(image, backbone.spec)
    if isinstance(item, Skipped):
        raise ImageError(f"{item.path}: {item.reason}")
    (found,) = _embed(backbone, [item])
    assert isinstance(found, ImageFeatures)
    return found


def embed_images(
    backbone: Backbone, images: Iterable[ImageInput], *, batch: int = BATCH
) -> Iterator[ImageFeatures | Skipped]:
    """Features of each image, or the reason why it was skipped, in the order of ``images``.

    At most ``2 * batch`` decoded images are held, whatever their number.
    """
    waiting: deque[NetworkInput | Skipped] = deque()
    for item in _decode(images, backbone.spec, ahead=batch):
        waiting.append(item)
        if sum(isinstance(w, NetworkInput) for w in waiting) == batch:
            yield from _embed(backbone, waiting)
            waiting.clear()
    yield from _embed(backbone, waiting)


def _decode(
    images: Iterable[ImageInput], spec: BackboneSpec, ahead: int
) -> Iterator[NetworkInput | Skipped]:
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        pending: deque[Future[NetworkInput | Skipped]] = deque()
        try:
            for image in images:
                pending.append(pool.submit(_input_or_reason, image, spec))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _input_or_reason(image: ImageInput, spec: BackboneSpec) -> NetworkInput | Skipped:
    try:
        return network_input(image, spec)
    except ImageError as error:
        return Skipped(path_of(image), str(error))


def _embed(
    backbone: Backbone, items: Collection[NetworkInput | Skipped]
) -> Iterator[ImageFeatures | Skipped]:
    inputs = [item.pixels for item in items if isinstance(item, NetworkInput)]
    embedded: Iterator[tuple[Float32, Float32]] = iter(())
    if inputs:
        features = backbone.embed(np.stack(inputs))
        embedded = zip(features.patches, features.images, strict=True)
    for item in items:
        if isinstance(item, Skipped):
            yield item
        else:
            patches, image = next(embedded)
            yield ImageFeatures(
                path=item.path,
                width=item.width,
                height=item.height,
                sha256=item.sha256,
                patches=patches,
                image=image,
                quality=item.quality,
                source=item.source,
            )
