"""Where vectors vary most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.blas import one_thread

SAMPLE = 10_000
"""Vectors at most from which the axes are taken."""


def principal_axes(
    vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Mean (D,) of ``vectors`` (N, D), and the leading min(D, count) axes (D, k), orthonormal."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample = vectors[:: -(-len(vectors) // SAMPLE)] - mean.astype(np.float64)
    # several threads wait for each other at every step: on a busy machine for seconds
    with one_thread():
        _, axes = np.linalg.eigh(sample.T @ sample)
    return mean, np.ascontiguousarray(axes[:, ::-1][:, :count])
