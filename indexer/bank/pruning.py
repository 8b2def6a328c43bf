"""Projections of cached patches, which rule out most images without reading their patches.

The distance between projections on `AXES` principal axes is a lower bound of the distance between
the patches (`indexer.knn.pca.PcaProjection`): if the projections lie far apart, so do the patches.
The axes are those of the memory bank at the time the category was learnt; other axes would cost
time, never exactness. A projection takes an eighth of 384 values.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.cached_arrays import as_cached, read_cached, write_cached
from indexer.catalog.category import Category
from indexer.knn.pca import PcaProjection, PrincipalAxes
from indexer.knn.threads import one_thread

Float32 = NDArray[np.float32]

AXES = 48
"""Axes of a projection. With this many, 13 % of grid's 243 images lie in reach of an image's
patches; with 32 axes, 27 %."""
_AT_A_TIME = 32
"""Images, and vectors, compared in one matrix product."""
_ROUNDING = 2.0**-10
"""Allowance for rounding, as a share of the lengths of two projections: half of it for the cached
one in float16, the other half far more than float32 axes and distances are off by."""
_SMALLEST = 1e-6
"""Allowance for values below the smallest float16."""


def write_axes(category: Category, axes: PrincipalAxes) -> None:
    """Cache the memory bank's axes to project on, with the category's revision."""
    rows = np.vstack([axes.mean, axes.axes[:, :AXES].T.astype(np.float32)])
    write_cached(category, "axes", [("", rows)])


def read_axes(category: Category) -> PcaProjection:
    """The projection on the axes with which the category was learnt."""
    ((_, rows),) = read_cached(category, "axes")
    # orthonormal again after rounding to float32
    with one_thread():
        axes, triangle = np.linalg.qr(rows[1:].T.astype(np.float64))
    return PcaProjection(rows[0], axes * np.sign(np.diag(triangle)))


def cache_projections(
    category: Category, projection: PcaProjection, image_id: str, patches: Float32
) -> None:
    """Cache the projections of an image's patches (H, W, D), rounded like the cached patches."""
    projected = _project(projection, as_cached("patches", patches))
    write_cached(category, "projections", [(image_id, projected)])


def images_in_reach(
    category: Category, vectors: Float32, within: Mapping[str, Float32]
) -> list[str]:
    """Images that may have a patch within ``within`` of one of ``vectors`` (M, D).

    Args:
        within: (H, W) distances by image id. No image that has such a patch is left out.
    """
    near = _project(read_axes(category), vectors)
    out_of_reach: set[str] = set()
    cached = (item for item in read_cached(category, "projections") if item[0] in within)
    while some := list(itertools.islice(cached, _AT_A_TIME)):
        keys = [key for key, _ in some]
        projected = np.stack([array.reshape(-1, array.shape[-1]) for _, array in some])
        reached = _may_reach(projected, near, np.stack([within[key].ravel() for key in keys]))
        out_of_reach.update(itertools.compress(keys, ~reached))
    return [key for key in within if key not in out_of_reach]


def _project(projection: PcaProjection, vectors: Float32) -> Float32:
    """Projections of patches: (..., D) float32 -> (..., k + 1) float32."""
    values = projection.project(vectors.reshape(-1, vectors.shape[-1])).values
    return values.reshape(*vectors.shape[:-1], -1)


def _may_reach(projected: Float32, near: Float32, within: Float32) -> NDArray[np.bool_]:
    """(I,) true for an image with one of ``projected`` (I, n, k) ``within`` (I, n) of ``near``."""
    images, patches, width = projected.shape
    squared, lengths = (near**2).sum(axis=1), np.linalg.norm(projected, axis=2)
    scale = lengths + np.sqrt(squared.max())
    # rounding of the products, one for each factor and sum, and of the projections
    rounding = (width + 8) * np.float32(2.0**-23) * scale**2
    within = within + _ROUNDING * scale + _SMALLEST
    reached = np.zeros(images, np.bool_)
    for start in range(0, len(near), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        products = projected.reshape(-1, width) @ near[part].T
        least = (squared[part] - 2 * products).min(axis=1).reshape(images, patches)
        bound = np.sqrt(np.maximum(least + lengths**2 - rounding, 0))
        # written so that a value that is not finite counts as in reach
        reached |= ~(bound > within).all(axis=1)
        if reached.all():  # if many are added, the first ones usually reach all images
            break
    return reached
