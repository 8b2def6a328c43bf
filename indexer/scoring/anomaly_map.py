"""Anomaly maps in the pixels of the image, their worst region and further regions."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from backbones.geometry import Box, Geometry
from indexer.knn.threads import one_thread

Float32 = NDArray[np.float32]

SIGMA = 4.0
"""Standard deviation in pixels at the network's input size (Roth et al. 2022, section 4.1)."""


def anomaly_map(distances: Float32, geometry: Geometry) -> Float32:
    """The anomaly map, (height, width) float32: patch distances upsampled and smoothed.

    Distances are interpolated bilinearly to the network's input size, smoothed there with a
    Gaussian of ``SIGMA``, and interpolated bilinearly to the original pixels. All three steps are
    linear along each axis, so two small matrix products suffice. A border that no patch covers is
    zero.
    """
    down, across = (_interpolation(*along) for along in _axes(geometry))
    with one_thread():
        return np.asarray(down @ distances @ across.T, dtype=np.float32)


def worst_region(distances: Float32, geometry: Geometry) -> Box:
    """Box, in original pixels, of the region around the patch with the largest distance.

    The region is connected to the centre of that patch, and the map stays above the midpoint
    between its median and its value there. It is found at the network's resolution, so that the
    cost does not grow with the photo.
    """
    values = anomaly_map(distances, geometry.at_input())
    rows, cols = _centres(geometry)
    row, col = np.unravel_index(int(distances.argmax()), distances.shape)
    centre = int(rows[row]), int(cols[col])
    (height, width), (top, left) = geometry.input_size, geometry.inset
    inner = values[top : height - top, left : width - left]
    level = min(float(values[centre]), (float(np.median(inner)) + float(values[centre])) / 2)
    labels, _ = ndimage.label(values >= level)
    return _original(ndimage.find_objects(labels)[labels[centre] - 1], geometry)


def levels_at_cells(distances: Float32, geometry: Geometry) -> Float32:
    """Values (H, W) of the anomaly map at the centres of the cells of the distances (H, W)."""
    return anomaly_map(distances, geometry.at_input())[np.ix_(*_centres(geometry))]


def _axes(geometry: Geometry) -> Iterator[tuple[int, int, int, int]]:
    """Cells, input pixels, image pixels and inset, for rows and for columns."""
    return zip(geometry.grid, geometry.input_size, geometry.image, geometry.inset, strict=True)


def _centres(geometry: Geometry) -> list[NDArray[np.int64]]:
    """Pixels, at the network's resolution, in the middle of each row and each column of cells."""
    steps = (
        (inset, (np.arange(cells) + 0.5) * (side - 2 * inset) / cells)
        for cells, side, _, inset in _axes(geometry)
    )
    return [inset + step.astype(np.int64) for inset, step in steps]


def regions(
    distances: Float32,
    geometry: Geometry,
    *,
    threshold: float,
    most: int = 8,
) -> list[Box]:
    """Boxes, in original pixels, of regions in which the map exceeds ``threshold``, worst first.

    There are at most ``most``; they are found at the network's resolution, as in `worst_region`.
    """
    values = anomaly_map(distances, geometry.at_input())
    labels, count = ndimage.label(values > threshold)
    if not count:
        return []
    slices = ndimage.find_objects(labels)
    peaks = np.asarray(ndimage.maximum(values, labels, range(1, count + 1)))
    worst = np.argsort(-peaks, kind="stable")[:most]
    return [_original(slices[i], geometry) for i in worst]


def _original(region: tuple[slice, ...], geometry: Geometry) -> Box:
    """The box, in original pixels, of rows and columns at the network's resolution."""
    (top, bottom), (left, right) = (
        (cut.start * pixels // side, -(-cut.stop * pixels // side))
        for cut, pixels, side in zip(region, geometry.image, geometry.input_size, strict=True)
    )
    return Box(left, top, right - left, bottom - top)


@functools.lru_cache(maxsize=256)
def _interpolation(cells: int, input_size: int, pixels: int, inset: int) -> Float32:
    """Matrix (pixels, cells) along one axis: cells -> input size -> smoothed -> pixels."""
    upsampled = _bilinear(cells, input_size - 2 * inset)
    smoothed = ndimage.gaussian_filter1d(upsampled, SIGMA, axis=0, mode="nearest")
    smoothed = np.pad(smoothed, ((inset, inset), (0, 0)))
    return (_bilinear(input_size, pixels) @ smoothed).astype(np.float32)


def _bilinear(source: int, target: int) -> NDArray[np.float64]:
    """Matrix (target, source) of linear interpolation between sample centres, held outside."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(position.astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    weight = position - low
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - weight)
    np.add.at(matrix, (np.arange(target), high), weight)
    return matrix
