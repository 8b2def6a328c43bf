"""Short vectors whose distances never exceed those of the full ones.

Let P be the orthogonal projection on the leading principal axes of the bank, and r(x) the length
of what P leaves of x. By the reverse triangle inequality

    |q - b|^2  >=  |Pq - Pb|^2 + (r(q) - r(b))^2,

and the right side is itself a squared distance, between the *short* vectors (Pq, r(q)) and
(Pb, r(b)). A box around the short vectors of a group bounds the distance to every one of them at
once.

*Coarse* vectors are short ones rounded to whole steps of a length u. With e(x) the length of what
rounding takes from x, by the triangle inequality once more

    |short q - short b|  >=  u |coarse q - coarse b| - e(q) - e(b),

where the right side is known exactly: products of whole numbers of 16 bits are added without error
in 32 bits, twice to four times as many at once as of float32 numbers.

Vectors are taken about the bank's mean, where norms, and so rounding errors, are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.knn.kernels import (
    COARSE,
    LANES,
    PADDING,
    ROUNDING,
    Bank,
    Float32,
    Float64,
    Int16,
    Int64,
)
from indexer.knn.pca import principal_axes

BOX_AXES = 16
"""Leading axes along which groups are split and boxed: they hold most of the variance."""
ROWS = 4096
"""Vectors shortened at a time: bounds the float64 copies."""
LONGEST = 16_000
"""Steps of the longest bank vector: the sums of products of it and of one twice as long, less
half its square, stay within 31 bits, and so do those of a place that holds no vector."""
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 16


@dataclass(frozen=True, slots=True)
class ShortVectors:
    """Short forms of N vectors.

    Attributes:
        squared: (N,) float64 squared lengths of the full vectors about the mean.
        values: (N, COARSE) float32, coordinates on the axes and the length of the rest.
    """

    squared: Float64
    values: Float32


class Shortener:
    """Mean and principal axes of ``bank`` (M, D) float32; which axes costs time, never exactness.

    Attributes:
        mean: (D,) float32; about float32 values the float64 differences are exact.
    """

    def __init__(self, bank: Float32) -> None:
        found = principal_axes(bank, COARSE - 1)
        self.mean, self._axes = found.mean, found.axes

    def shorten(self, vectors: Float32) -> ShortVectors:
        """Short forms of ``vectors`` (N, D) float32; ValueError if one is too long for float32."""
        count, axes = len(vectors), self._axes.shape[1]
        short = ShortVectors(np.empty(count), np.zeros((count, COARSE), dtype=np.float32))
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            centred = vectors[rows] - self.mean.astype(np.float64)
            squared = np.einsum("nd,nd->n", centred, centred)
            if not squared.max() <= LARGEST_SQUARE:
                raise ValueError("values that are not finite or too large for float32")
            coordinates = centred @ self._axes
            rest = squared - np.einsum("nk,nk->n", coordinates, coordinates)
            short.squared[rows] = squared
            short.values[rows, :axes] = coordinates
            short.values[rows, -1] = np.sqrt(np.maximum(rest, 0.0))
        return short


def rounding_of(length: Float64, dim: int) -> Float64:
    """How far a short vector may lie from where it belongs, for vectors of that length.

    Half a unit in the last place of each float32 coordinate, and what cancels in the float64
    length of the rest, the root of 20 ``dim`` 2^-53; both twice over.
    """
    allowed: Float64 = length * ((2 + 2 * np.sqrt(dim)) * ROUNDING)
    return allowed


@dataclass(frozen=True, slots=True)
class CoarseVectors:
    """N short vectors in whole steps.

    Attributes:
        values: (N, COARSE) int16.
        squared: (N,) int64 squared lengths, in steps.
        error: (N,) float64 length of what rounding took, in steps.
    """

    values: Int16
    squared: Int64
    error: Float64


def coarsen(short: Float32, unit: float) -> CoarseVectors:
    """Coarse forms, in steps of ``unit``, of vectors (N, COARSE) of at most 2 ``LONGEST`` steps."""
    steps = short / np.float64(unit)
    whole = np.rint(steps)
    steps -= whole
    return CoarseVectors(
        whole.astype(np.int16),
        np.einsum("nk,nk->n", whole, whole).astype(np.int64),
        np.sqrt(np.einsum("nk,nk->n", steps, steps)),
    )


def lay_out(vectors: Float32, short: Float32, coarse: CoarseVectors, size: int) -> Bank:
    """The bank in groups of at most ``size`` vectors that lie near each other."""
    groups = split_into_groups(short[:, :BOX_AXES], size)
    blocks = [-(-len(group) // LANES) for group in groups]
    rows = np.full(sum(blocks) * LANES, PADDING, dtype=np.int64)
    edges = np.cumsum([0, *blocks])
    for group, edge in zip(groups, edges[:-1] * LANES, strict=True):
        rows[edge : edge + len(group)] = group
    filled = rows != PADDING
    taken = rows[filled]
    placed = np.zeros((len(rows), COARSE), dtype=np.int16)
    placed[filled] = coarse.values[taken]
    # below every sum that a vector can have
    halves = np.full(len(rows), -(2**30), dtype=np.int32)
    halves[filled] = -(coarse.squared[taken] // 2)
    boxed = [short[group, :BOX_AXES] for group in groups]
    return Bank(
        vectors=vectors,
        rows=rows,
        # pairs of values of a block's vectors side by side, as they are multiplied
        coarse=np.ascontiguousarray(placed.reshape(-1, LANES, COARSE // 2, 2).swapaxes(1, 2)),
        halves=halves.reshape(-1, LANES),
        edges=edges.astype(np.int64),
        low=np.stack([part.min(axis=0) for part in boxed]),
        high=np.stack([part.max(axis=0) for part in boxed]),
    )


def split_into_groups(leading: Float32, size: int) -> list[Int64]:
    """Halve (M, a) vectors at the median of their widest axis, down to ``size``; who is where."""
    groups = [np.arange(len(leading))]
    while max(len(group) for group in groups) > size:
        groups = [half for group in groups for half in _halves(leading, group)]
    return groups


def _halves(leading: Float32, group: Int64) -> tuple[Int64, Int64]:
    values = leading[group]
    half = len(group) // 2
    order = np.argpartition(values[:, values.var(axis=0).argmax()], half)
    return group[order[:half]], group[order[half:]]
