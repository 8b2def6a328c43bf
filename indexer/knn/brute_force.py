"""Nearest of a few vectors, by one matrix product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def nearest_of(points: Float32, others: Float32) -> tuple[Float32, NDArray[np.int64]]:
    """Squared distance (Q,) of ``points`` (Q, D) to the nearest of ``others`` (M, D), and which.

    The product decides which is nearest, up to its rounding error; the difference gives the
    distance, so that equal vectors are at distance zero.
    """
    centre = others.mean(axis=0)
    near, far = points - centre, others - centre
    closeness = near @ far.T
    closeness -= np.einsum("md,md->m", far, far) / 2
    indices = closeness.argmax(axis=1)
    difference = points - others[indices]
    return np.asarray(np.einsum("qd,qd->q", difference, difference), np.float32), indices


def squared_distances(points: Float32, others: Float32) -> Float32:
    """Squared distance (Q,) of each of ``points`` (Q, D) to the nearest of ``others`` (M, D)."""
    return nearest_of(points, others)[0]
