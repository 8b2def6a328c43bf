"""Synthetic materials: images of normal products.

Every length below is given for an image of 256 x 256 pixels and scales with the image, so that a
category looks the same at any size. Colours are float32 (S, S, 3) in grey levels 0..255 until an
image is finished.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from backbones.geometry import Size
from indexer.data.image_records import DatasetError

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]

CATEGORIES = ("tile", "leather", "grid")

MIN_SIZE = 64
"""Side length in pixels below which the textures dissolve."""


def render_normal(category: str, rng: np.random.Generator, size: int = 256) -> Uint8:
    """Draw a normal image (S, S, 3) with random light, position, colours and noise.

    Raises:
        DatasetError: unknown category.

    """
    check_category(category)
    image = _MATERIALS[category](rng, size)
    image *= _light(rng, size)
    image += 2 * rng.standard_normal(image.shape, np.float32)
    return to_uint8(image)


def check_category(category: str) -> None:
    """Raise a DatasetError that lists the known categories if there is no such one."""
    if category not in CATEGORIES:
        raise DatasetError(f"unknown category '{category}'. Known: {', '.join(CATEGORIES)}")


# Materials: (rng, size) -> colours (S, S, 3), evenly lit


def _tile(rng: np.random.Generator, size: int) -> Float32:
    """Light terrazzo: fine stone chips of several colours in cloudy cement."""
    image = vary_color(rng, (168, 163, 152)) + 6 * noise(rng, size, 18)[..., None]
    veins = 9 * noise(rng, size, 3)[..., None]
    stones = (
        ((134, 128, 120), 1.5, 0.16),
        ((191, 186, 176), 1.4, 0.14),
        ((112, 107, 103), 0.9, 0.05),
    )
    for color, spread, share in stones:
        chips = _spots(rng, size, spread, share * rng.uniform(0.85, 1.15))[..., None]
        image += chips * (vary_color(rng, color) + veins - image)
    return image


def _leather(rng: np.random.Generator, size: int) -> Float32:
    """Brown hide: pebbles between creases, lit from the upper left."""
    pebbles = _pebbles(rng, size, rng.uniform(8.5, 9.5))
    height = pebbles + 0.12 * noise(rng, size, 1.2) + 0.5 * noise(rng, size, 9)
    slope = np.asarray(sum(np.gradient(height)), np.float32) * (size / 256)
    shade = 0.7 + 0.32 * pebbles + 0.45 * slope + 0.04 * noise(rng, size, 25)
    return np.asarray(vary_color(rng, (118, 72, 46)) * shade[..., None], np.float32)


def _pebbles(rng: np.random.Generator, size: int, spacing: float) -> Float32:
    """Heights (S, S) in 0..1 of round cells about jittered seeds (Worley), 0 at the creases."""
    step = spacing * size / 256
    count = int(size / step) + 3
    seeds = np.mgrid[:count, :count] + rng.uniform(-0.42, 0.42, (2, count, count))
    seeds -= rng.uniform(0, 1, (2, 1, 1))
    rows, columns = np.clip(seeds.reshape(2, -1) * step, 0, size - 1).astype(int)
    empty = np.ones((size, size), bool)
    empty[rows, columns] = False
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    owner = nearest[0] * size + nearest[1]
    inside = (owner == np.roll(owner, 1, 0)) & (owner == np.roll(owner, 1, 1))
    depth = ndimage.distance_transform_edt(inside) / (0.4 * step)
    return np.sqrt(np.clip(blur(depth, 0.7 * size / 256), 0, 1))


def _grid(rng: np.random.Generator, size: int) -> Float32:
    """Woven wire against a dark ground, slightly rotated, stretched and uneven."""
    pitch = 27 * size / 256 * rng.uniform(0.97, 1.03)
    angle = math.radians(45 + rng.uniform(-3, 3))
    y, x = np.mgrid[:size, :size].astype(np.float32) / pitch
    u = x * math.cos(angle) + y * math.sin(angle) + rng.uniform() + 0.02 * noise(rng, size, 14)
    v = y * math.cos(angle) - x * math.sin(angle) + rng.uniform() + 0.02 * noise(rng, size, 14)
    u_on_top = (np.rint(u) + np.rint(v)) % 2 == 0
    upper, upper_shade = _bars(np.where(u_on_top, u, v))
    lower, lower_shade = _bars(np.where(u_on_top, v, u))
    wire = upper * upper_shade + (1 - upper) * lower * lower_shade
    ground = (1 - upper) * (1 - lower) * (1 + 0.08 * noise(rng, size, 3))
    wire *= 1 + 0.04 * noise(rng, size, 1.5)
    return (
        vary_color(rng, (38, 40, 44)) * ground[..., None]
        + vary_color(rng, (176, 177, 180)) * wire[..., None]
    )


def _bars(position: Float32) -> tuple[Float32, Float32]:
    """Cover and shade (S, S) of round bars wherever ``position`` (S, S) is a whole number."""
    across = (position - np.rint(position)) / 0.13  # -1..1 from edge to edge of a bar
    cover = np.clip((1 - np.abs(across)) * 4, 0, 1)
    shade = np.sqrt(np.clip(1 - (0.85 * across + 0.15) ** 2, 0.15, 1))
    return cover, shade


_MATERIALS: dict[str, Callable[[np.random.Generator, int], Float32]] = {
    "tile": _tile,
    "leather": _leather,
    "grid": _grid,
}


# Shapes that the materials and the defects are drawn with


def noise(rng: np.random.Generator, size: int | Size, spread: float) -> Float32:
    """Smooth Gaussian noise (S, S) or (H, W) of mean 0 and deviation 1.

    Its features measure about ``spread`` pixels if the shorter side has 256.
    """
    shape = (size, size) if isinstance(size, int) else size
    values = blur(rng.standard_normal(shape, np.float32), spread * min(shape) / 256)
    return np.asarray((values - values.mean()) / values.std(), np.float32)


def blur(values: NDArray[np.floating], sigma: float) -> Float32:
    """Gaussian blur of (H, W) by FFT, as fast for wide as for narrow blurs; it wraps around."""
    rows, columns = (
        np.exp(-2 * (np.pi * sigma * frequencies) ** 2).astype(np.float32)
        for frequencies in (fft.fftfreq(values.shape[0]), fft.rfftfreq(values.shape[1]))
    )
    spectrum = fft.rfft2(np.asarray(values, np.float32)) * (rows[:, None] * columns)
    return np.asarray(fft.irfft2(spectrum, values.shape), np.float32)


def vary_color(rng: np.random.Generator, color: tuple[int, int, int]) -> Float32:
    """Vary a colour (3,) a little, mostly in brightness."""
    return np.asarray(rng.normal(color, 1) + rng.normal(0, 2.5), np.float32)


def to_uint8(image: NDArray[np.floating]) -> Uint8:
    """Round grey levels and clip them to 0..255."""
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _spots(rng: np.random.Generator, size: int, spread: float, share: float) -> Float32:
    """Spots (S, S) in 0..1 with edges of a pixel or two, covering a share of the area."""
    edge = float(special.ndtri(1 - share))
    return np.clip((noise(rng, size, spread) - edge) * spread * size / 256 + 0.5, 0, 1)


def _light(rng: np.random.Generator, size: int) -> Float32:
    """Brightness factors (S, S, 1) of a lamp slightly off to one side."""
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.16)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    light = math.sin(angle) * ramp[:, None] + math.cos(angle) * ramp
    return np.asarray(rng.uniform(0.95, 1.05) * (1 + fall * light), np.float32)[..., None]
