"""Made-up products: textures and defects for the demo, the tests, and thresholds.

Every length below is given for an image of 256 pixels a side and grows with the image, so a
category looks the same at any size. Colours are float32 (S, S, 3) in grey levels 0..255 until
an image is finished.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import fft, ndimage, special

from indexer.dataset import DatasetError

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]

CATEGORIES = ("tile", "leather", "grid")

MIN_DEFECT_AREA = 0.002
"""Share of the image that a defect covers at least."""

MIN_SIZE = 64
"""Pixels a side below which the textures dissolve."""

_VISIBLE = 6  # grey levels in any channel from which a pixel counts as changed


def write_dataset(
    folder: Path,
    category: str,
    *,
    train: int,
    test_normal: int,
    test_defective: int,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Write an MVTec folder ``folder/category`` of PNG images and return its path.

    Each image depends on seed, size and its own name alone, so a larger data set begins with
    the same images, and an interrupted run is simply run again.

    Args:
        folder: made if missing.
        category: one of `CATEGORIES`.
        train: number of normal training images.
        test_normal: number of normal test images.
        test_defective: number of defective test images, dealt out to the defect types in turn.
        size: side of the images in pixels.
        seed: not negative.

    Raises:
        DatasetError: unknown category, a size too small, or a folder that holds other images.

    """
    if size < MIN_SIZE:
        raise DatasetError(f"expected a size of at least {MIN_SIZE} pixels, got {size}")
    types = defect_types(category)
    root = folder / category
    names = [(f"train/good/{index:03d}.png", "") for index in range(train)]
    names += [(f"test/good/{index:03d}.png", "") for index in range(test_normal)]
    for index in range(test_defective):
        defect_type = types[index % len(types)]
        names.append((f"test/{defect_type}/{index // len(types):03d}.png", defect_type))
    _refuse_strangers(root, {root / name for name, _ in names})

    for name, defect_type in names:
        rng = np.random.default_rng([seed, zlib.crc32(f"{category}/{name}".encode())])
        image = render_normal(category, rng, size)
        if defect_type:
            image, mask = add_defect(image, defect_type, rng)
            mask_name = name.replace("test/", "ground_truth/", 1).replace(".png", "_mask.png")
            _write_png(root / mask_name, mask.astype(np.uint8) * 255)
        _write_png(root / name, image)
    return root


def defect_types(category: str) -> tuple[str, ...]:
    """Name the defects that occur on a category; DatasetError if there is no such category."""
    _check_category(category)
    return tuple(_DEFECTS[category])


def render_normal(category: str, rng: np.random.Generator, size: int = 256) -> Uint8:
    """Draw a normal image (S, S, 3) with its own light, position, colours and noise.

    Raises:
        DatasetError: unknown category.

    """
    _check_category(category)
    image = _MATERIALS[category](rng, size)
    image *= _light(rng, size)
    image += 2 * rng.standard_normal(image.shape, np.float32)
    return _to_uint8(image)


def add_defect(
    image: Uint8, defect_type: str, rng: np.random.Generator
) -> tuple[Uint8, NDArray[np.bool_]]:
    """Draw a defect at a random place, clear to subtle, on a copy of an image (S, S, 3).

    Returns:
        the image and a mask (S, S) of the defect, at least `MIN_DEFECT_AREA` of the pixels;
        outside the mask the image is as before.

    Raises:
        DatasetError: unknown defect type, or an image on which it cannot be seen.

    """
    known = {name: draw for draws in _DEFECTS.values() for name, draw in draws.items()}
    if defect_type not in known:
        raise DatasetError(f"unknown defect type '{defect_type}'. Known: {', '.join(known)}")
    for _ in range(20):
        changed = _to_uint8(known[defect_type](image.astype(np.float32), rng))
        difference = np.abs(changed.astype(np.int16) - image).max(axis=2)
        visible = difference >= _VISIBLE
        mask = visible | ndimage.binary_closing(visible, np.ones((3, 3), bool), iterations=2)
        if mask.mean() >= MIN_DEFECT_AREA:
            return np.where(mask[..., None], changed, image), mask
    raise DatasetError(f"a defect of type '{defect_type}' does not show on this image")


# Materials: (rng, size) -> colours (S, S, 3), evenly lit


def _tile(rng: np.random.Generator, size: int) -> Float32:
    """Light terrazzo: stone chips of several colours and sizes in cloudy cement."""
    image = _color(rng, (168, 163, 152)) + 6 * _noise(rng, size, 18)[..., None]
    veins = 9 * _noise(rng, size, 3)[..., None]
    stones = (
        ((92, 86, 82), 2.8, 0.15),
        ((209, 204, 193), 2.2, 0.12),
        ((70, 66, 66), 1.2, 0.04),
        ((134, 98, 78), 1.6, 0.03),
    )
    for color, spread, share in stones:
        chips = _spots(rng, size, spread, share * rng.uniform(0.85, 1.15))[..., None]
        image += chips * (_color(rng, color) + veins - image)
    return image


def _leather(rng: np.random.Generator, size: int) -> Float32:
    """Brown hide: pebbles between creases, lit from the upper left."""
    pebbles = _pebbles(rng, size, rng.uniform(8.5, 9.5))
    height = pebbles + 0.12 * _noise(rng, size, 1.2) + 0.5 * _noise(rng, size, 9)
    slope = np.asarray(sum(np.gradient(height)), np.float32) * (size / 256)
    shade = 0.7 + 0.32 * pebbles + 0.45 * slope + 0.04 * _noise(rng, size, 25)
    return np.asarray(_color(rng, (118, 72, 46)) * shade[..., None], np.float32)


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
    return np.sqrt(np.clip(_blur(depth, 0.7 * size / 256), 0, 1))


def _grid(rng: np.random.Generator, size: int) -> Float32:
    """Woven wire before a dark ground, slightly turned, stretched and uneven."""
    pitch = 27 * size / 256 * rng.uniform(0.97, 1.03)
    angle = math.radians(45 + rng.uniform(-3, 3))
    y, x = np.mgrid[:size, :size].astype(np.float32) / pitch
    u = x * math.cos(angle) + y * math.sin(angle) + rng.uniform() + 0.02 * _noise(rng, size, 14)
    v = y * math.cos(angle) - x * math.sin(angle) + rng.uniform() + 0.02 * _noise(rng, size, 14)
    u_on_top = (np.rint(u) + np.rint(v)) % 2 == 0
    upper, upper_shade = _bars(np.where(u_on_top, u, v))
    lower, lower_shade = _bars(np.where(u_on_top, v, u))
    wire = upper * upper_shade + (1 - upper) * lower * lower_shade
    ground = (1 - upper) * (1 - lower) * (1 + 0.08 * _noise(rng, size, 3))
    wire *= 1 + 0.04 * _noise(rng, size, 1.5)
    return (
        _color(rng, (38, 40, 44)) * ground[..., None]
        + _color(rng, (176, 177, 180)) * wire[..., None]
    )


def _bars(position: Float32) -> tuple[Float32, Float32]:
    """Cover and shade (S, S) of round bars wherever ``position`` (S, S) is a whole number."""
    across = (position - np.rint(position)) / 0.13  # -1..1 from edge to edge of a bar
    cover = np.clip((1 - np.abs(across)) * 4, 0, 1)
    shade = np.sqrt(np.clip(1 - (0.85 * across + 0.15) ** 2, 0.15, 1))
    return cover, shade


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
    core = _color(rng, (148, 140, 126)) + 10 * _noise(rng, size, 1.5)[..., None]
    slope = np.asarray(sum(np.gradient(_blur(hole[..., 0], size / 128))), np.float32)
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
    ridge = _blur(line, rng.uniform(2.5, 4.5) * size / 256)
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
    color = _color(rng, ((176, 58, 46), (64, 104, 168), (206, 188, 110))[rng.integers(3)])
    return image + rng.uniform(0.4, 1) * fibre * (color - image)


_MATERIALS: dict[str, Callable[[np.random.Generator, int], Float32]] = {
    "tile": _tile,
    "leather": _leather,
    "grid": _grid,
}
_DEFECTS: dict[str, dict[str, Callable[[Float32, np.random.Generator], Float32]]] = {
    "tile": {"crack": _crack, "stain": _stain, "chip": _chip},
    "leather": {"cut": _cut, "poke": _poke, "fold": _fold},
    "grid": {"broken": _broken, "bent": _bent, "contamination": _contamination},
}


# What they are drawn with


def _noise(rng: np.random.Generator, size: int, spread: float) -> Float32:
    """Smooth Gaussian noise (S, S), mean 0, deviation 1; features of about ``spread`` pixels."""
    noise = _blur(rng.standard_normal((size, size), np.float32), spread * size / 256)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _blur(values: NDArray[np.floating], sigma: float) -> Float32:
    """Gaussian blur of (S, S) by FFT: as fast for wide blurs as for narrow ones; wraps round."""
    rows, columns = (
        np.exp(-2 * (np.pi * sigma * frequencies) ** 2).astype(np.float32)
        for frequencies in (fft.fftfreq(len(values)), fft.rfftfreq(len(values)))
    )
    spectrum = fft.rfft2(np.asarray(values, np.float32)) * (rows[:, None] * columns)
    return np.asarray(fft.irfft2(spectrum, values.shape), np.float32)


def _spots(rng: np.random.Generator, size: int, spread: float, share: float) -> Float32:
    """Spots (S, S) in 0..1 with edges of a pixel or two, covering a share of the area."""
    edge = float(special.ndtri(1 - share))
    return np.clip((_noise(rng, size, spread) - edge) * spread * size / 256 + 0.5, 0, 1)


def _blob(
    rng: np.random.Generator, size: int, radius: float, *, soft: float, rough: float = 0.3
) -> Float32:
    """One irregular spot (S, S, 1) in 0..1 at a random place, its edge ``soft`` pixels wide."""
    radius, soft = radius * size / 256, soft * size / 256
    row, column = rng.uniform(radius, size - radius, 2).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    inside = radius * (1 + rough * _noise(rng, size, 8)) - np.hypot(y - row, x - column)
    return np.asarray(np.clip(inside / soft + 0.5, 0, 1), np.float32)[..., None]


def _line(
    rng: np.random.Generator, size: int, length: float, width: float, *, bend: float
) -> Float32:
    """One line (S, S, 1) in 0..1 about a random place; ``bend`` is its turn per piece in rad."""
    pieces = 24
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, pieces))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / pieces * size / 256)
    points = np.cumsum(steps, axis=0)
    points += rng.uniform(0.25, 0.75, 2) * size - points.mean(axis=0)
    canvas = Image.new("L", (4 * size, 4 * size))
    thickness = max(1, round(4 * width * size / 256))
    ImageDraw.Draw(canvas).line([(4 * x, 4 * y) for x, y in points], 255, thickness, "curve")
    return np.asarray(canvas.reduce(4), np.float32)[..., None] / np.float32(255)


def _color(rng: np.random.Generator, color: tuple[int, int, int]) -> Float32:
    """Vary a colour (3,) a little, mostly in brightness."""
    return np.asarray(rng.normal(color, 1) + rng.normal(0, 2.5), np.float32)


def _light(rng: np.random.Generator, size: int) -> Float32:
    """Brightness factors (S, S, 1) of a lamp that stands a little aside."""
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.16)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    light = math.sin(angle) * ramp[:, None] + math.cos(angle) * ramp
    return np.asarray(rng.uniform(0.95, 1.05) * (1 + fall * light), np.float32)[..., None]


def _to_uint8(image: NDArray[np.floating]) -> Uint8:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _check_category(category: str) -> None:
    if category not in CATEGORIES:
        raise DatasetError(f"unknown category '{category}'. Known: {', '.join(CATEGORIES)}")


def _refuse_strangers(root: Path, names: set[Path]) -> None:
    """DatasetError if images lie below ``root`` that are not about to be written again."""
    strangers = [path for path in root.glob("t*/*/*.png") if path not in names]
    if strangers:
        raise DatasetError(
            f"{root} already holds other images, such as {min(strangers)}; "
            "delete that folder or give another one"
        )


def _write_png(path: Path, pixels: Uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
