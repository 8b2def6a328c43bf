"""From patch distances to a map in the pixels of the image, its worst region and its pictures."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from backbones.geometry import Box
from indexer.knn.threads import one_thread

Float32 = NDArray[np.float32]

SIGMA = 4.0
"""Pixels at the network's input size (Roth et al. 2022, section 4.1)."""


def anomaly_map(
    distances: Float32, *, input_size: int, width: int, height: int, inset: int = 0
) -> Float32:
    """Patch distances (H, W) upsampled, smoothed and brought to (height, width) float32.

    Bilinear to the network's input size, Gaussian of ``SIGMA`` there, bilinear to the original
    pixels. All three are linear in each axis, so two small matrix products do them. The border of
    ``inset`` input pixels, which no patch covers, is zero.
    """
    rows, cols = distances.shape
    down = _interpolation(rows, input_size, height, inset)
    across = _interpolation(cols, input_size, width, inset)
    with one_thread():
        return np.asarray(down @ distances @ across.T, dtype=np.float32)


def worst_region(
    distances: Float32, *, input_size: int, width: int, height: int, inset: int = 0
) -> Box:
    """Box, in original pixels, of the region around the patch that made the image score.

    The region is where the map, connected to that patch's centre, stays above the middle between
    the map's median and its value there. Found at the network's resolution, so its cost does not
    grow with the photo.
    """
    values = anomaly_map(
        distances, input_size=input_size, width=input_size, height=input_size, inset=inset
    )
    covered = input_size - 2 * inset
    row, col = np.unravel_index(int(distances.argmax()), distances.shape)
    centre = (
        int(_centres(distances.shape[0], input_size, inset)[row]),
        int(_centres(distances.shape[1], input_size, inset)[col]),
    )
    inner = values[inset : inset + covered, inset : inset + covered]
    level = min(float(values[centre]), (float(np.median(inner)) + float(values[centre])) / 2)
    labels, _ = ndimage.label(values >= level)
    rows, cols = ndimage.find_objects(labels)[labels[centre] - 1]
    return _original(rows, cols, input_size=input_size, width=width, height=height)


def levels_at_cells(distances: Float32, *, input_size: int, inset: int = 0) -> Float32:
    """(H, W) value of the anomaly map at the centre of each cell of the distances (H, W)."""
    values = anomaly_map(
        distances, input_size=input_size, width=input_size, height=input_size, inset=inset
    )
    rows, cols = (_centres(cells, input_size, inset) for cells in distances.shape)
    return values[np.ix_(rows, cols)]


def _centres(cells: int, input_size: int, inset: int) -> NDArray[np.int64]:
    """The pixel, at the network's resolution, in the middle of each cell along one axis."""
    steps = (np.arange(cells) + 0.5) * (input_size - 2 * inset) / cells
    return inset + steps.astype(np.int64)


def regions(
    distances: Float32,
    *,
    threshold: float,
    input_size: int,
    width: int,
    height: int,
    inset: int = 0,
    most: int = 8,
) -> list[Box]:
    """Boxes, in original pixels, of where the map stands above ``threshold``, worst first.

    At most ``most`` of them; found at the network's resolution, as in `worst_region`.
    """
    values = anomaly_map(
        distances, input_size=input_size, width=input_size, height=input_size, inset=inset
    )
    labels, count = ndimage.label(values > threshold)
    if not count:
        return []
    slices = ndimage.find_objects(labels)
    peaks = np.asarray(ndimage.maximum(values, labels, range(1, count + 1)))
    worst = np.argsort(-peaks, kind="stable")[:most]
    return [_original(*slices[i], input_size=input_size, width=width, height=height) for i in worst]


def _original(rows: slice, cols: slice, *, input_size: int, width: int, height: int) -> Box:
    """The box in original pixels of rows and columns at the network's resolution."""
    left, right = cols.start * width // input_size, -(-cols.stop * width // input_size)
    top, bottom = rows.start * height // input_size, -(-rows.stop * height // input_size)
    return Box(left, top, right - left, bottom - top)


@functools.lru_cache(maxsize=256)
def _interpolation(cells: int, input_size: int, pixels: int, inset: int) -> Float32:
    """(pixels, cells): cells -> input size -> smoothed -> pixels, along one axis."""
    upsampled = _bilinear(cells, input_size - 2 * inset)
    smoothed = ndimage.gaussian_filter1d(upsampled, SIGMA, axis=0, mode="nearest")
    smoothed = np.pad(smoothed, ((inset, inset), (0, 0)))
    return (_bilinear(input_size, pixels) @ smoothed).astype(np.float32)


def _bilinear(source: int, target: int) -> NDArray[np.float64]:
    """(target, source) linear interpolation between sample centres, held at the borders."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(position.astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    weight = position - low
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - weight)
    np.add.at(matrix, (np.arange(target), high), weight)
    return matrix


def overlay(image: Image.Image, values: Float32, *, threshold: float) -> Image.Image:
    """``image`` under the heat of ``values`` (height, width), as of `heat_colours`."""
    colours, strength = heat_colours(values, threshold=threshold)
    blended = np.asarray(image, dtype=np.float32) * (1 - strength) + colours * strength
    return Image.fromarray(blended.astype(np.uint8))


def heat_layer(values: Float32, *, threshold: float) -> Image.Image:
    """RGBA picture of the heat of ``values`` (height, width) alone, to be laid over the image."""
    colours, strength = heat_colours(values, threshold=threshold)
    return Image.fromarray(np.concatenate([colours, strength * 255], axis=2).astype(np.uint8))


def heat_colours(values: Float32, *, threshold: float) -> tuple[Float32, Float32]:
    """(height, width, 3) colours 0 to 255 and (height, width, 1) strengths 0 to 0.75 of a map.

    The colours mean the same for every image of a category: nothing below 0.7 times the
    threshold, full heat from 1.3 times the threshold on.
    """
    # normal images that repeat those of the bank make a threshold of zero
    heat = np.clip((values / max(threshold, 1e-12) - 0.7) / 0.6, 0.0, 1.0)
    return _palette()[(heat * 255).astype(np.uint8)], (0.75 * np.sqrt(heat))[..., None]


@functools.cache
def _palette() -> NDArray[np.float32]:
    """(256, 3) colours of the perceptually uniform map 'inferno', 0 to 255."""
    from matplotlib import colormaps

    return (colormaps["inferno"](np.linspace(0.15, 1, 256))[:, :3] * 255).astype(np.float32)


PANEL = 360
_MARGIN = 12
_CAPTION = 44
_INK, _PAPER, _MARK = (24, 24, 27), (255, 255, 255), (0, 174, 239)


def panels(pictures: list[tuple[Image.Image, str, Box | None]]) -> Image.Image:
    """The pictures side by side at one height, each with a caption above and a box outlined."""
    font = ImageFont.load_default(size=15)
    scaled = [
        (p.resize((max(1, round(p.width * PANEL / p.height)), PANEL)), p) for p, _, _ in pictures
    ]
    width = sum(s.width for s, _ in scaled) + _MARGIN * (len(scaled) + 1)
    sheet = Image.new("RGB", (width, PANEL + _CAPTION + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    left = _MARGIN
    for (small, original), (_, caption, box) in zip(scaled, pictures, strict=True):
        sheet.paste(small, (left, _CAPTION))
        draw.text((left, 6), _fit(caption, small.width, font), fill=_INK, font=font, spacing=3)
        if box is not None:
            scale = PANEL / original.height
            corner = (left + box.x * scale, _CAPTION + box.y * scale)
            far = (corner[0] + box.width * scale, corner[1] + box.height * scale)
            draw.rectangle((*corner, *far), outline=_PAPER, width=5)
            draw.rectangle((*corner, *far), outline=_MARK, width=3)
        left += small.width + _MARGIN
    return sheet


def _fit(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Each line cut to ``width`` pixels, with an ellipsis where something is missing."""
    lines = []
    for line in caption.splitlines():
        cut = line
        while len(cut) > 1 and font.getlength(cut) > width:
            cut = cut[:-2] + "…"
        lines.append(cut)
    return "\n".join(lines)
