"""Vectors that are hard on a search, and strategies for drawing them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

sizes = st.sampled_from([1, 2, 7, 150])
dims = st.sampled_from([1, 2, 3, 40, 63, 64, 65, 100])
seeds = st.integers(0, 2**16)


def normal(seed: int, *shape: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def clusters(
    seed: int, *, size: int, queries: int, dim: int, apart: float, spread: float
) -> tuple[Float32, Float32]:
    """A bank of three tight clusters far apart, and queries among them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((3, dim)) * apart

    def draw(count: int) -> Float32:
        chosen = centres[rng.integers(3, size=count)]
        drawn = (chosen + spread * rng.standard_normal((count, dim))).astype(np.float32)
        return np.asarray(drawn)

    return draw(size), draw(queries)


def on_sphere(seed: int, size: int, dim: int, radius: float, jitter: float) -> Float32:
    """(size, dim) vectors, all almost as far from the origin: every lower bound is about equal."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((size, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = radius * (1 + jitter * rng.standard_normal((size, 1)))
    return np.asarray((directions * radii).astype(np.float32))
