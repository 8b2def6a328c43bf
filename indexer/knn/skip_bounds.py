"""Lower bounds of distances by which most of a memory bank is skipped.

*Projections* on the leading principal axes of the bank are at most as far apart as the full vectors
(`indexer.knn.pca`). A box around the projections of a group bounds the distance to every one of
them at once.

*Coarse* vectors are projections rounded to whole steps of a length u. With e(x) the length of the
rounding error of x, the triangle inequality gives

    |projected q - projected b|  >=  u |coarse q - coarse b| - e(q) - e(b),

and the right side is known exactly: products of 16-bit integers are added without error in 32 bits,
two to four times as many at once as products of float32 numbers.
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
from indexer.knn.pca import PcaProjection, principal_axes

BOX_AXES = 16
"""Leading axes along which groups are split and boxed; they hold most of the variance."""
LONGEST = 16_000
"""Length of the longest bank vector in steps: sums of its products with a vector twice as long,
less half its square, stay within 31 bits, and so do those of an empty place."""
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 16
"""Largest squared length of a vector, relative to the mean, that float32 can represent in sums."""


def projection_of(bank: Float32) -> PcaProjection:
    """Projection of vectors like those of ``bank`` (M, D) float32 to `COARSE` values."""
    found = principal_axes(bank, COARSE - 1)
    unused = COARSE - 1 - found.axes.shape[1]
    return PcaProjection(found.mean, np.pad(found.axes, ((0, 0), (0, unused))))


def rounding_of(length: Float64, dim: int) -> Float64:
    """Largest error of a projection of vectors of this length.

    Half a unit in the last place of each float32 coordinate, and the cancellation in the float64
    length of the rest, the root of 20 ``dim`` 2^-53; both doubled.
    """
    allowed: Float64 = length * ((2 + 2 * np.sqrt(dim)) * ROUNDING)
    return allowed


@dataclass(frozen=True, slots=True)
class CoarseVectors:
    """N projections rounded to whole steps.

    Attributes:
        values: (N, COARSE) int16.
        squared: (N,) int64 squared lengths, in steps.
        error: (N,) float64 length of the rounding error, in steps.
    """

    values: Int16
    squared: Int64
    error: Float64


def coarsen(projected: Float32, unit: float) -> CoarseVectors:
    """Projections (N, COARSE) of at most 2 ``LONGEST`` steps of ``unit``, rounded to steps."""
    steps = projected / np.float64(unit)
    whole = np.rint(steps)
    steps -= whole
    return CoarseVectors(
        whole.astype(np.int16),
        np.einsum("nk,nk->n", whole, whole).astype(np.int64),
        np.sqrt(np.einsum("nk,nk->n", steps, steps)),
    )


def lay_out(vectors: Float32, projected: Float32, coarse: CoarseVectors, size: int) -> Bank:
    """The bank in groups of at most ``size`` neighbouring vectors."""
    groups = split_into_groups(projected[:, :BOX_AXES], size)
    blocks = [-(-len(group) // LANES) for group in groups]
    rows = np.full(sum(blocks) * LANES, PADDING, dtype=np.int64)
    edges = np.cumsum([0, *blocks])
    for group, edge in zip(groups, edges[:-1] * LANES, strict=True):
        rows[edge : edge + len(group)] = group
    filled = rows != PADDING
    taken = rows[filled]
    placed = np.zeros((len(rows), COARSE), dtype=np.int16)
    placed[filled] = coarse.values[taken]
    # below any sum that a vector can have
    halves = np.full(len(rows), -(2**30), dtype=np.int32)
    halves[filled] = -(coarse.squared[taken] // 2)
    boxed = [projected[group, :BOX_AXES] for group in groups]
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
    """Groups of at most ``size`` of (M, a) vectors, by halving at the median of the widest axis."""
    groups = [np.arange(len(leading))]
    while max(len(group) for group in groups) > size:
        groups = [half for group in groups for half in _halves(leading, group)]
    return groups


def _halves(leading: Float32, group: Int64) -> tuple[Int64, Int64]:
    values = leading[group]
    half = len(group) // 2
    order = np.argpartition(values[:, values.var(axis=0).argmax()], half)
    return group[order[:half]], group[order[half:]]
