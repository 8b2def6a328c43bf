"""From an upright RGB image to the network's input, and from patch cells back to its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB in [0, 1]; applied inside the network's graph."""


def to_input(pixels: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize an RGB image of any shape to the square (size, size, 3) the network takes.

    The whole image is kept: a crop would hide the border of a part.
    """
    if pixels.size != (size, size):
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
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
    """The map between an image of ``width`` x ``height`` pixels and its patch cells."""

    width: int
    height: int
    rows: int
    cols: int

    def cell_box(self, row: int, col: int) -> Box:
        """The pixels a patch cell stands for; the boxes of all cells tile the image."""
        left, right = col * self.width // self.cols, (col + 1) * self.width // self.cols
        top, bottom = row * self.height // self.rows, (row + 1) * self.height // self.rows
        return Box(left, top, max(1, right - left), max(1, bottom - top))

    def cell_at(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the cell whose box holds pixel (x, y); outside points go to the border."""
        col = np.searchsorted(_edges(self.width, self.cols), x, side="right") - 1
        row = np.searchsorted(_edges(self.height, self.rows), y, side="right") - 1
        return int(np.clip(row, 0, self.rows - 1)), int(np.clip(col, 0, self.cols - 1))


def _edges(length: int, cells: int) -> NDArray[np.int64]:
    """Left edge in pixels of each cell along one side."""
    return np.arange(cells, dtype=np.int64) * length // cells
