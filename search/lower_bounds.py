"""Short vectors whose distances never exceed those of the full ones.

Let P be the orthogonal projection on the leading principal axes of the bank, and r(x) the length
of what P leaves of x. By the reverse triangle inequality

    |q - b|^2  >=  |Pq - Pb|^2 + (r(q) - r(b))^2,

and the right side is itself a squared distance, between the short vectors (Pq, r(q)) and
(Pb, r(b)). More axes give a tighter bound at a higher price, so there are two lengths. A box
around the short vectors of a group bounds the distance to every one of them at once.

Vectors are taken about the bank's mean, where norms, and so rounding errors, are small.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.blas import one_thread

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

COARSE_AXES = 64
FINE_AXES = 128
BOX_AXES = 16
"""Leading axes along which groups are split and boxed: they hold most of the variance."""
SAMPLE = 10_000
"""Bank vectors from which the axes are taken; the choice of axes costs time, never exactness."""
ROWS = 4096
"""Vectors shortened at a time: bounds the float64 copies."""
ROUNDING = 2.0**-24
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 16


@dataclass(frozen=True, slots=True)
class ShortVectors:
    """Short forms of N vectors.

    Attributes:
        squared: (N,) float64 squared lengths about the mean.
        coarse: (N, k + 1) float32, coordinates on k axes and the length of the rest.
        fine: (N, K + 1) float32, the same with K >= k axes.
    """

    squared: Float64
    coarse: Float32
    fine: Float32


class Shortener:
    """Mean and principal axes of ``bank`` (M, D) float32.

    Attributes:
        mean: (D,) float32; about float32 values the float64 differences are exact.
    """

    def __init__(self, bank: Float32) -> None:
        self.mean: Float32 = bank.mean(axis=0, dtype=np.float64).astype(np.float32)
        sample = bank[:: -(-len(bank) // SAMPLE)] - self.mean.astype(np.float64)
        # several threads wait for each other at every step: on a busy machine for seconds
        with one_thread():
            _, vectors = np.linalg.eigh(sample.T @ sample)
        self._axes = np.ascontiguousarray(vectors[:, ::-1][:, :FINE_AXES])

    def shorten(self, vectors: Float32) -> ShortVectors:
        """Short forms of ``vectors`` (N, D) float32; ValueError if one is too long for float32."""
        count, fine_axes = len(vectors), self._axes.shape[1]
        coarse_axes = min(COARSE_AXES, fine_axes)
        short = ShortVectors(
            np.empty(count),
            np.empty((count, coarse_axes + 1), dtype=np.float32),
            np.empty((count, fine_axes + 1), dtype=np.float32),
        )
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            centred = vectors[rows] - self.mean.astype(np.float64)
            squared = np.einsum("nd,nd->n", centred, centred)
            if not squared.max() <= LARGEST_SQUARE:
                raise ValueError("values that are not finite or too large for float32")
            coordinates = centred @ self._axes
            short.squared[rows] = squared
            _fill(short.coarse[rows], coordinates[:, :coarse_axes], squared)
            _fill(short.fine[rows], coordinates, squared)
        return short


def _fill(short: Float32, coordinates: Float64, squared: Float64) -> None:
    rest = squared - np.einsum("nk,nk->n", coordinates, coordinates)
    short[:, :-1] = coordinates
    short[:, -1] = np.sqrt(np.maximum(rest, 0.0))


def rounding_of(length: Float64, dim: int) -> Float64:
    """How far a short vector may lie from where it belongs, for vectors of that length.

    Half a unit in the last place of each float32 coordinate, and what cancels in the float64
    length of the rest, the root of 20 ``dim`` 2^-53; both twice over.
    """
    allowed: Float64 = length * ((2 + 2 * np.sqrt(dim)) * ROUNDING)
    return allowed


@dataclass(frozen=True, slots=True)
class Leaves:
    """Groups of near vectors.

    Attributes:
        order: (M,) int64 positions in the bank, group by group.
        edges: (L + 1,) int64; group i is ``order[edges[i]:edges[i + 1]]``.
        low, high: (L, a) float32, the box around each group on the leading axes.
        centres: (L, k + 2) float32, mean coarse vector of each group and -|it|^2 / 2.
    """

    order: Int64
    edges: Int64
    low: Float32
    high: Float32
    centres: Float32

    def __len__(self) -> int:
        return len(self.low)

    def rows(self, leaf: int) -> slice:
        """Where group ``leaf`` stands in ``order``."""
        return slice(int(self.edges[leaf]), int(self.edges[leaf + 1]))

    def distances(self, coarse: Float32) -> Float32:
        """(Q, L) squared distances from short vectors (Q, k) to the boxes."""
        total = np.zeros((len(coarse), len(self)), dtype=np.float32)
        for axis in range(self.low.shape[1]):
            here = coarse[:, axis, None]
            beyond = np.maximum(self.low[:, axis] - here, here - self.high[:, axis])
            np.maximum(beyond, 0, out=beyond)
            beyond *= beyond
            total += beyond
        return total


def split_into_leaves(coarse: Float32, size: int) -> Leaves:
    """Halve (M, k + 1) vectors at the median of their widest leading axis, down to ``size``."""
    groups = [np.arange(len(coarse))]
    while max(len(group) for group in groups) > size:
        groups = [half for group in groups for half in _halves(coarse, group)]
    order = np.concatenate(groups)
    edges = np.cumsum([0, *(len(group) for group in groups)])
    parts = [coarse[order[a:b]] for a, b in itertools.pairwise(edges)]
    centres = np.stack([part.mean(axis=0) for part in parts])
    half_squared = np.einsum("lk,lk->l", centres, centres) / 2
    return Leaves(
        order,
        edges,
        np.stack([part[:, :BOX_AXES].min(axis=0) for part in parts]),
        np.stack([part[:, :BOX_AXES].max(axis=0) for part in parts]),
        np.column_stack([centres, -half_squared]),
    )


def _halves(coarse: Float32, group: Int64) -> tuple[Int64, Int64]:
    leading = coarse[group, :BOX_AXES]
    half = len(group) // 2
    order = np.argpartition(leading[:, leading.var(axis=0).argmax()], half)
    return group[order[:half]], group[order[half:]]
