"""Principal axes of vectors, and the lower bounds of distances given by projections on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.knn.threads import one_thread

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SAMPLE = 10_000
"""Largest number of vectors from which the axes are computed."""
ROWS = 4096
"""Vectors projected at a time, which bounds the float64 copies."""


@dataclass(frozen=True, slots=True)
class PrincipalAxes:
    """Leading k principal axes of vectors of D values.

    Attributes:
        mean: (D,) float32.
        axes: (D, k) float64, orthonormal, largest variance first.
        variances: (D,) float64 along all axes, largest first.
    """

    mean: Float32
    axes: Float64
    variances: Float64


def principal_axes(vectors: Float32, count: int) -> PrincipalAxes:
    """Leading min(D, count) principal axes of ``vectors`` (N, D)."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample = vectors[:: -(-len(vectors) // SAMPLE)] - mean.astype(np.float64)
    # several threads wait for each other at every step, for seconds on a busy machine
    with one_thread():
        squares, axes = np.linalg.eigh(sample.T @ sample)
    variances = np.maximum(squares[::-1], 0.0) / len(sample)
    return PrincipalAxes(mean, np.ascontiguousarray(axes[:, ::-1][:, :count]), variances)


class Projections(NamedTuple):
    """N vectors of D values on k axes.

    Attributes:
        squared: (N,) float64 squared lengths of the full vectors about the mean.
        values: (N, k + 1) float32, coordinates on the axes and the length of the rest.
    """

    squared: Float64
    values: Float32


@dataclass(frozen=True, slots=True)
class PcaProjection:
    """Projection on axes, whose distances are lower bounds of those of the full vectors.

    Let P be the orthogonal projection on the axes and r(x) the length of what P leaves of x - m,
    for any m. By the reverse triangle inequality

        |q - v|^2  >=  |P(q - m) - P(v - m)|^2 + (r(q) - r(v))^2,

    and the right side is itself a squared distance, between (P(q - m), r(q)) and (P(v - m), r(v)).
    Leading principal axes make the bound tight; any others cost time, never exactness. Relative to
    the vectors' mean, norms are small and so are rounding errors.

    Attributes:
        mean: (D,) float32; about float32 values the float64 differences are exact.
        axes: (D, k) float64, orthonormal, or zero for an unused coordinate.
    """

    mean: Float32
    axes: Float64

    def project(self, vectors: Float32) -> Projections:
        """Projections of ``vectors`` (N, D) float32, infinite if float32 is too small for them."""
        count, axes = len(vectors), self.axes.shape[1]
        found = Projections(np.empty(count), np.empty((count, axes + 1), np.float32))
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            centred = vectors[rows] - self.mean.astype(np.float64)
            squared = np.einsum("nd,nd->n", centred, centred)
            coordinates = centred @ self.axes
            rest = squared - np.einsum("nk,nk->n", coordinates, coordinates)
            found.squared[rows] = squared
            with np.errstate(over="ignore"):
                found.values[rows, :axes] = coordinates
                found.values[rows, -1] = np.sqrt(np.maximum(rest, 0.0))
        return found
