"""Maps an upright RGB image to the network's input, and patch cells back to its pixels."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Size = tuple[int, int]
"""(height, width) in pixels, or (rows, columns) in cells."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB in [0, 1]; applied inside the network's graph."""


def in_words(size: Size) -> str:
    """A size in words: ``256`` for a square, otherwise ``64 x 96``, height first."""
    height, width = size
    return f"{height}" if height == width else f"{height} x {width}"


def to_input(pixels: Image.Image, size: Size, crop: Size | None = None) -> NDArray[np.uint8]:
    """Resize an RGB image of any shape to the (height, width, 3) of ``size``.

    With ``crop``, only the central part of that size is returned.
    """
    height, width = size
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    if crop:
        top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
        pixels = pixels.crop((left, top, left + crop[1], top + crop[0]))
    return np.asarray(pixels)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the original upright image: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int

    def as_list(self) -> list[int]:
        """``[x, y, width, height]``, the order of COCO and of vecspect's JSON."""
        return [self.x, self.y, self.width, self.height]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The map between the pixels of an image and its patch cells.

    Attributes:
        image: height and width in pixels of the upright image.
        grid: rows and columns of cells.
        input_size: height and width in pixels that the image is resized to.
        inset: pixels at top and bottom, and at left and right, of the resized image that no cell
            covers.
    """

    image: Size
    grid: Size
    input_size: Size
    inset: Size = (0, 0)

    def at_input(self) -> Geometry:
        """The same cells in the resized image."""
        return replace(self, image=self.input_size)

    def cell_box(self, row: int, col: int) -> Box:
        """The pixels that a patch cell stands for; the boxes of all cells tile the covered area."""
        top, bottom = self._edge(row, axis=0)
        left, right = self._edge(col, axis=1)
        return Box(left, top, max(1, right - left), max(1, bottom - top))

    def cell_at(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the cell whose box holds pixel (x, y), or of the nearest cell."""
        tops, lefts = ([first for first, _ in self._edges(axis)] for axis in (0, 1))
        row, col = bisect.bisect_right(tops, y) - 1, bisect.bisect_right(lefts, x) - 1
        return max(row, 0), max(col, 0)

    def cells_in(self, box: Box) -> list[tuple[int, int]]:
        """(row, col) of the cells that overlap ``box``, row by row, or of the nearest cell."""
        rows = self._overlapping(box.y, box.height, axis=0)
        cols = self._overlapping(box.x, box.width, axis=1)
        row, col = self.cell_at(box.x + box.width / 2, box.y + box.height / 2)
        return [(r, c) for r in rows or [row] for c in cols or [col]]

    def _overlapping(self, start: int, length: int, axis: int) -> list[int]:
        return [
            cell
            for cell, (first, after) in enumerate(self._edges(axis))
            if first < start + length and start < max(after, first + 1)
        ]

    def _edges(self, axis: int) -> list[tuple[int, int]]:
        return [self._edge(cell, axis) for cell in range(self.grid[axis])]

    def _edge(self, cell: int, axis: int) -> tuple[int, int]:
        """First pixel of a cell along an axis, and first pixel of the next cell."""
        side, inset, cells = self.input_size[axis], self.inset[axis], self.grid[axis]
        covered = side - 2 * inset
        first, after = (
            (inset * cells + i * covered) * self.image[axis] // (side * cells)
            for i in (cell, cell + 1)
        )
        return first, after
