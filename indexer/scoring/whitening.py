"""Whitens defect embeddings: measures residuals relative to how normal patches vary.

Along directions in which normal patches differ from each other, a difference says little about a
defect: the same scratch may lie on a bright part of the texture or on a dark one. So residuals are
whitened: along the leading principal axes of the memory bank they are divided by its deviation
there, relative to that of the remaining directions. That is the inverse root of the covariance of
probabilistic principal component analysis (Tipping and Bishop 1999), whose only parameter is the
number of axes. The axes are those of the bank at the time the category was learnt, and stay until
it is learnt again: embeddings are comparable only if they were whitened alike.
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
"""Number of axes, chosen on a sample of leather, where other numbers from 16 to 128 worked about as
well."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """Removes from a vector the directions in which normal patches vary.

    Attributes:
        damping: (k, D) float32, orthogonal rows of length at most 1.
    """

    damping: Float32

    def whiten(self, deviation: Float32) -> Float32:
        """Whitened vectors: (..., D) float32 -> (..., D) float32 of length 1, or 0 for 0."""
        whitened = deviation - (deviation @ self.damping.T) @ self.damping
        length = np.linalg.norm(whitened, axis=-1, keepdims=True)
        return np.asarray(whitened / np.maximum(length, 1e-12), dtype=np.float32)


def whitening_of(axes: PrincipalAxes, patches: int) -> Whitening:
    """The whitening by the leading principal axes of normal patches.

    At least half of the axes that the patches could span are left unchanged, as the reference for
    the others.
    """
    dim = len(axes.mean)
    count = min(AXES, axes.axes.shape[1], max(0, min(patches, dim) - 1) // 2)
    rest, leading = axes.variances[count:].mean(), axes.variances[:count]
    # without remaining axes every axis would be damped to nothing
    shares = 1 - np.sqrt(rest / leading) if rest > 0 else np.zeros(count)
    return Whitening((np.sqrt(shares) * axes.axes[:, :count]).T.astype(np.float32))


def write_whitening(category: Category, whitening: Whitening) -> None:
    """Cache the whitening of a category that is being learnt; later revisions keep it."""
    write_cached(category, "whitening", [("", whitening.damping)])


def read_whitening(category: Category) -> Whitening:
    """The whitening with which the category was learnt."""
    ((_, damping),) = read_cached(category, "whitening")
    return Whitening(damping)
