"""Whitening of defect embeddings: residuals measured against how normal patches vary.

Where the normal patches of a category differ from each other, a difference says little of a defect:
the same scratch lies on a bright part of the texture here and on a dark one there. So residuals
are whitened: along the leading principal axes of the memory bank they are divided by
its deviation there, relative to that of the rest. That is the inverse root of the covariance of
probabilistic principal component analysis (Tipping and Bishop 1999), which takes no parameter but
the number of axes.

The axes are those of the bank when the category was learnt, and stay until it is learnt again:
embeddings are comparable only if they were whitened alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.cached_arrays import read_cached, write_cached
from indexer.catalog.category import Category
from indexer.knn.pca import PrincipalAxes

Float32 = NDArray[np.float32]

AXES = 48
"""Fixed on a sample of leather; other numbers from 16 to 128 found defects about as well there."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """Takes from a vector what varies among normal patches.

    Attributes:
        damping: (k, D) float32, orthogonal rows of length at most 1.
    """

    damping: Float32

    def whiten(self, deviation: Float32) -> Float32:
        """(..., D) float32 -> (..., D) float32 of length 1, or 0 for 0."""
        whitened = deviation - (deviation @ self.damping.T) @ self.damping
        length = np.linalg.norm(whitened, axis=-1, keepdims=True)
        return np.asarray(whitened / np.maximum(length, 1e-12), dtype=np.float32)


def whitening_of(axes: PrincipalAxes, patches: int) -> Whitening:
    """The whitening by the principal axes of so many normal patches.

    Half of the axes that the patches could span are left alone at least, so that there is a rest to
    measure by.
    """
    dim = len(axes.mean)
    count = min(AXES, axes.axes.shape[1], max(0, min(patches, dim) - 1) // 2)
    rest, leading = axes.variances[count:].mean(), axes.variances[:count]
    # without a rest every axis would be damped to nothing
    shares = 1 - np.sqrt(rest / leading) if rest > 0 else np.zeros(count)
    return Whitening((np.sqrt(shares) * axes.axes[:, :count]).T.astype(np.float32))


def write_whitening(category: Category, whitening: Whitening) -> None:
    """Cache the whitening with the category's revision, learnt from scratch, and those since."""
    write_cached(category, "whitening", [("", whitening.damping)])


def read_whitening(category: Category) -> Whitening:
    """The whitening that the category was learnt with."""
    ((_, damping),) = read_cached(category, "whitening")
    return Whitening(damping)
