"""From an upright RGB image to the network's input, and from patch cells back to its pixels."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB in [0, 1]; applied inside the network's graph."""


def to_input(pixels: Image.Image, size: int, crop: int = 0) -> NDArray[np.uint8]:
    """Resize an RGB image of any shape to the square (size, size, 3) the network takes.

    With ``crop``, only the centre (crop, crop, 3) of that square.
    """
    if pixels.size != (size, size):
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    if crop:
        inset = (size - crop) // 2
        pixels = pixels.crop((inset, inset, inset + crop, inset + crop))
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
    """The map between an image of ``width`` x ``height`` pixels and its patch cells.

    Attributes:
        input_size: side in pixels of the square the image is resized to.
        inset: pixels at each border of that square which no cell covers.
    """

    width: int
    height: int
    rows: int
    cols: int
    input_size: int = 1
    inset: int = 0

    def cell_box(self, row: int, col: int) -> Box:
        """The pixels a patch cell stands for; the boxes of all cells tile what is covered."""
        left, right = self._edge(col, self.cols, self.width)
        top, bottom = self._edge(row, self.rows, self.height)
        return Box(left, top, max(1, right - left), max(1, bottom - top))

    def cell_at(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the cell whose box holds pixel (x, y); outside points go to the border."""
        lefts = [self._edge(col, self.cols, self.width)[0] for col in range(self.cols)]
        tops = [self._edge(row, self.rows, self.height)[0] for row in range(self.rows)]
        col = bisect.bisect_right(lefts, x) - 1
        row = bisect.bisect_right(tops, y) - 1
        return max(row, 0), max(col, 0)

    def cells_in(self, box: Box) -> list[tuple[int, int]]:
        """(row, col) of the cells that overlap ``box``, row by row; the nearest where none does."""
        rows = self._overlapping(box.y, box.height, self.rows, self.height)
        cols = self._overlapping(box.x, box.width, self.cols, self.width)
        row, col = self.cell_at(box.x + box.width / 2, box.y + box.height / 2)
        return [(r, c) for r in rows or [row] for c in cols or [col]]

    def _overlapping(self, start: int, size: int, cells: int, length: int) -> list[int]:
        edges = [self._edge(cell, cells, length) for cell in range(cells)]
        return [
            cell
            for cell, (first, after) in enumerate(edges)
            if first < start + size and start < max(after, first + 1)
        ]

    def _edge(self, cell: int, cells: int, length: int) -> tuple[int, int]:
        """First pixel of a cell along one side, and of the next one."""
        covered = self.input_size - 2 * self.inset
        first, after = (
            (self.inset * cells + i * covered) * length // (self.input_size * cells)
            for i in (cell, cell + 1)
        )
        return first, after
