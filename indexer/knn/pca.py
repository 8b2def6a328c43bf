"""Where vectors vary most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.knn.threads import one_thread

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SAMPLE = 10_000
"""Vectors at most from which the axes are taken."""


@dataclass(frozen=True, slots=True)
class PrincipalAxes:
    """The leading k principal axes of vectors of D values.

    Attributes:
        mean: (D,) float32.
        axes: (D, k) float64, orthonormal, largest variance first.
        variances: (D,) float64 along all axes, largest first.
    """

    mean: Float32
    axes: Float64
    variances: Float64


def principal_axes(vectors: Float32, count: int) -> PrincipalAxes:
    """The leading min(D, count) principal axes of ``vectors`` (N, D)."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample = vectors[:: -(-len(vectors) // SAMPLE)] - mean.astype(np.float64)
    # several threads wait for each other at every step: on a busy machine for seconds
    with one_thread():
        squares, axes = np.linalg.eigh(sample.T @ sample)
    variances = np.maximum(squares[::-1], 0.0) / len(sample)
    return PrincipalAxes(mean, np.ascontiguousarray(axes[:, ::-1][:, :count]), variances)
