"""How bright and how sharp an image is, whatever it shows: what moves when a lamp or lens does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.geometry import to_input

Float32 = NDArray[np.float32]

LOOKS = ("brightness", "sharpness")


def look_of(path: Path, spec: BackboneSpec) -> Float32:
    """(2,) float32: mean grey level in [0, 255] and log variance of the Laplacian.

    Both at the network's input size. The variance of the Laplacian is the focus measure of
    Pech-Pacheco et al. (2000). Raises ImageError.
    """
    pixels = to_input(
        load_image(path, size_hint=spec.input_size).pixels, spec.input_size, spec.crop
    )
    grey = pixels.astype(np.float32).mean(axis=2)
    sides = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    sharpness = np.log(np.var(sides - 4 * grey[1:-1, 1:-1]) + 1e-6)
    return np.array([grey.mean(), sharpness], np.float32)


def looks_of(paths: Iterable[tuple[str, str]], spec: BackboneSpec) -> Iterator[tuple[str, Float32]]:
    """(image id, look) of each (image id, path); files that cannot be read are left out."""
    for key, path in paths:
        try:
            yield key, look_of(Path(path), spec)
        except ImageError:
            continue
