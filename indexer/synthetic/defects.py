"""Synthetic defects: changes to the image of a normal product, and their masks.

Lengths are given for an image of 256 pixels a side, as in `textures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from indexer.data.image_records import DatasetError
from indexer.synthetic.textures import (
    Float32,
    Uint8,
    blur,
    check_category,
    noise,
    to_uint8,
    vary_color,
)

MIN_DEFECT_AREA = 0.002
"""Smallest share of the image that a defect covers."""

_VISIBLE = 6  # change in grey levels of any channel from which a pixel counts as changed


def defect_types(category: str) -> tuple[str, ...]:
    """Defect types of a category; DatasetError if there is no such category."""
    check_category(category)
    return tuple(_DEFECTS[category])


def add_defect(
    image: Uint8, defect_type: str, rng: np.random.Generator
) -> tuple[Uint8, NDArray[np.bool_]]:
    """Draw a defect at a random place, clear to subtle, on a copy of an image (S, S, 3).

    Returns:
        The image and a mask (S, S) of the defect, which covers at least `MIN_DEFECT_AREA` of the
        pixels; outside the mask the image is unchanged.

    Raises:
        DatasetError: the defect type is unknown, or the defect does not show on this image.
    """
    known = {name: draw for draws in _DEFECTS.values() for name, draw in draws.items()}
    if defect_type not in known:
        raise DatasetError(f"unknown defect type '{defect_type}'. Known: {', '.join(known)}")
    for _ in range(20):
        changed = to_uint8(known[defect_type](image.astype(np.float32), rng))
        difference = np.abs(changed.astype(np.int16) - image).max(axis=2)
        visible = difference >= _VISIBLE
        mask = visible | ndimage.binary_closing(visible, np.ones((3, 3), bool), iterations=2)
        if mask.mean() >= MIN_DEFECT_AREA:
            return np.where(mask[..., None], changed, image), mask
    raise DatasetError(f"a defect of type '{defect_type}' does not show on this image")


# Defects: (colours (S, S, 3), rng) -> colours


def _crack(image: Float32, rng: np.random.Generator) -> Float32:
    line = _line(rng, len(image), rng.uniform(70, 190), rng.uniform(1.8, 3.2), bend=0.4)
    return image * (1 - rng.uniform(0.3, 0.75) * line)


def _stain(image: Float32, rng: np.random.Generator) -> Float32:
    blob = _blob(rng, len(image), rng.uniform(12, 34), soft=rng.uniform(2, 6))
    absorbed = np.array([0.35, 0.5, 0.75], np.float32) if rng.random() < 0.6 else np.float32(0.6)
    return image * (1 - rng.uniform(0.25, 0.8) * absorbed * blob)


def _chip(image: Float32, rng: np.random.Generator) -> Float32:
    size = len(image)
    hole = _blob(rng, size, rng.uniform(7, 16), soft=1.5)
    core = vary_color(rng, (148, 140, 126)) + 10 * noise(rng, size, 1.5)[..., None]
    slope = np.asarray(sum(np.gradient(blur(hole[..., 0], size / 128))), np.float32)
    chipped = image + rng.uniform(0.7, 1) * hole * (core - image)
    return chipped - rng.uniform(120, 260) * size / 256 * slope[..., None]


def _cut(image: Float32, rng: np.random.Generator) -> Float32:
    line = _line(rng, len(image), rng.uniform(45, 100), rng.uniform(2.2, 4), bend=0.06)
    lip = np.roll(line, (len(image) // 128, len(image) // 128), (0, 1))
    strength = rng.uniform(0.35, 0.9)
    return np.asarray(image * (1 + 0.4 * strength * lip) * (1 - strength * line), np.float32)


def _poke(image: Float32, rng: np.random.Generator) -> Float32:
    hole = _blob(rng, len(image), rng.uniform(6, 9.5), soft=3, rough=0.08)
    rim = 4 * hole * (1 - hole)
    strength = rng.uniform(0.4, 0.9)
    return image * (1 - strength * hole + 0.5 * strength * rim)


def _fold(image: Float32, rng: np.random.Generator) -> Float32:
    size = len(image)
    line = _line(rng, size, rng.uniform(90, 210), 6, bend=0.05)[..., 0]
    ridge = blur(line, rng.uniform(2.5, 4.5) * size / 256)
    slope = np.asarray(sum(np.gradient(ridge)), np.float32) * (size / 256)
    return image * (1 - rng.uniform(2, 5) * slope - 0.2 * ridge)[..., None]


def _broken(image: Float32, rng: np.random.Generator) -> Float32:
    gap = _blob(rng, len(image), rng.uniform(9, 17), soft=2, rough=0.1)
    grey = image.mean(axis=2)
    ground = image[grey <= np.quantile(grey, 0.25)].mean(axis=0)
    return np.asarray(image + gap * (np.minimum(image, ground) - image), np.float32)


def _bent(image: Float32, rng: np.random.Generator) -> Float32:
    size = len(image)
    spread = rng.uniform(11, 22) * size / 256
    row, column = rng.uniform(2 * spread, size - 2 * spread, 2).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    bump = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * spread**2))
    push, angle = rng.uniform(4, 10) * size / 256, rng.uniform(0, 2 * np.pi)
    places = (y + push * math.sin(angle) * bump, x + push * math.cos(angle) * bump)
    channels = [
        ndimage.map_coordinates(image[..., channel], places, order=1, mode="nearest")
        for channel in range(3)
    ]
    return np.stack(channels, axis=2)


def _contamination(image: Float32, rng: np.random.Generator) -> Float32:
    fibre = _line(rng, len(image), rng.uniform(55, 130), rng.uniform(2.4, 4.2), bend=0.5)
    color = vary_color(rng, ((176, 58, 46), (64, 104, 168), (206, 188, 110))[rng.integers(3)])
    return image + rng.uniform(0.4, 1) * fibre * (color - image)


_DEFECTS: dict[str, dict[str, Callable[[Float32, np.random.Generator], Float32]]] = {
    "tile": {"crack": _crack, "stain": _stain, "chip": _chip},
    "leather": {"cut": _cut, "poke": _poke, "fold": _fold},
    "grid": {"broken": _broken, "bent": _bent, "contamination": _contamination},
}


# Shapes that the defects are drawn with


def _blob(
    rng: np.random.Generator, size: int, radius: float, *, soft: float, rough: float = 0.3
) -> Float32:
    """One irregular spot (S, S, 1) in 0..1 at a random place, with an edge ``soft`` pixels wide."""
    radius, soft = radius * size / 256, soft * size / 256
    row, column = rng.uniform(radius, size - radius, 2).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    inside = radius * (1 + rough * noise(rng, size, 8)) - np.hypot(y - row, x - column)
    return np.asarray(np.clip(inside / soft + 0.5, 0, 1), np.float32)[..., None]


def _line(
    rng: np.random.Generator, size: int, length: float, width: float, *, bend: float
) -> Float32:
    """One line (S, S, 1) in 0..1 at a random place; ``bend`` is its turn per segment in rad."""
    pieces = 24
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, pieces))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / pieces * size / 256)
    points = np.cumsum(steps, axis=0)
    points += rng.uniform(0.25, 0.75, 2) * size - points.mean(axis=0)
    canvas = Image.new("L", (4 * size, 4 * size))
    thickness = max(1, round(4 * width * size / 256))
    ImageDraw.Draw(canvas).line([(4 * x, 4 * y) for x, y in points], 255, thickness, "curve")
    return np.asarray(canvas.reduce(4), np.float32)[..., None] / np.float32(255)
