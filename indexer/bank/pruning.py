"""Short forms of kept patches, by which most images are known to lie out of reach unread.

Let P be the orthogonal projection on ``AXES`` directions and r(x) the length of what P leaves of
x - m, for any m. By the reverse triangle inequality

    |q - v|^2  >=  |P(q - m) - P(v - m)|^2 + (r(q) - r(v))^2.

So patches whose short forms (P(q - m), r(q)) lie far from those of some vectors lie far from these
themselves. The directions are the leading principal axes of the memory bank when the category was
learnt, m its mean: others would cost time, never exactness. A short form is an eighth of 384
values; an image without one, of a category learnt before they were kept, is always read.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.cached_arrays import as_kept, keep, read_kept
from indexer.catalog.schema import CatalogEntry
from indexer.knn.pca import PrincipalAxes
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]

AXES = 48
"""Of 243 images of grid, 13 % lie in reach of an image's patches by this many, 27 % by 32."""
_AT_A_TIME = 32
"""Images, and vectors, that are compared in one matrix product."""
_ROUNDING = 2.0**-10
"""Of the lengths of two short forms: half of it is what float16 takes from the kept one, and the
other half far more than axes of float32 and distances measured in float32 are off by."""
_SMALLEST = 1e-6
"""What is lost below the smallest float16."""


@dataclass(frozen=True, slots=True)
class ShortForms:
    """How the patches of a category are shortened.

    Attributes:
        mean: (D,) float32.
        axes: (D, k) float32, orthonormal.
    """

    mean: Float32
    axes: Float32

    def shorten(self, vectors: Float32) -> Float32:
        """(..., D) float32 -> (..., k + 1) float32."""
        centred = vectors.reshape(-1, len(self.mean)) - self.mean.astype(np.float64)
        coordinates = centred @ self.axes
        rest = np.linalg.norm(centred - coordinates @ self.axes.T, axis=1)
        short = np.column_stack([coordinates, rest]).astype(np.float32)
        return short.reshape(*vectors.shape[:-1], -1)


def keep_short_forms(store: VectorStore, entry: CatalogEntry, axes: PrincipalAxes) -> ShortForms:
    """Those along the axes of the memory bank, which the entry's revision keeps."""
    forms = ShortForms(axes.mean, axes.axes[:, :AXES].astype(np.float32))
    keep(store, entry, "axes", [("", np.vstack([forms.mean, forms.axes.T]))])
    return forms


def read_short_forms(store: VectorStore, entry: CatalogEntry) -> ShortForms | None:
    """Those of the entry's revision; None of a category learnt before they were kept."""
    for _, rows in read_kept(store, entry, "axes"):
        return ShortForms(rows[0], np.ascontiguousarray(rows[1:].T))
    return None


def keep_short(
    store: VectorStore,
    entry: CatalogEntry,
    forms: ShortForms | None,
    image_id: str,
    patches: Float32,
) -> None:
    """Keep the short form of an image's patches (H, W, D), as `cached_arrays` gives them back."""
    if forms:
        keep(store, entry, "short", [(image_id, forms.shorten(as_kept("patches", patches)))])


def images_in_reach(
    store: VectorStore, entry: CatalogEntry, vectors: Float32, within: Mapping[str, Float32]
) -> list[str]:
    """Which images may have a patch as near to one of ``vectors`` (M, D) as ``within`` says.

    Args:
        within: (H, W) distances by image id. No image is left out that has such a patch.
    """
    forms = read_short_forms(store, entry)
    if forms is None:
        return list(within)
    near = forms.shorten(vectors)
    out_of_reach: set[str] = set()
    kept = ((key, short) for key, short in read_kept(store, entry, "short") if key in within)
    while some := list(itertools.islice(kept, _AT_A_TIME)):
        keys = [key for key, _ in some]
        short = np.stack([array.reshape(-1, array.shape[-1]) for _, array in some])
        reached = _may_reach(short, near, np.stack([within[key].ravel() for key in keys]))
        out_of_reach.update(itertools.compress(keys, ~reached))
    return [key for key in within if key not in out_of_reach]


def _may_reach(short: Float32, near: Float32, within: Float32) -> NDArray[np.bool_]:
    """(I,) whether one of an image's ``short`` (I, n, k) may be ``within`` (I, n) of ``near``'s."""
    images, patches, width = short.shape
    squared, lengths = (near**2).sum(axis=1), np.linalg.norm(short, axis=2)
    scale = lengths + np.sqrt(squared.max())
    # the products' own rounding, one for each factor and sum, and that of the short forms
    rounding = (width + 8) * np.float32(2.0**-23) * scale**2
    within = within + _ROUNDING * scale + _SMALLEST
    reached = np.zeros(images, np.bool_)
    for start in range(0, len(near), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        products = short.reshape(-1, width) @ near[part].T
        least = (squared[part] - 2 * products).min(axis=1).reshape(images, patches)
        bound = np.sqrt(np.maximum(least + lengths**2 - rounding, 0))
        # so put that a value which is not finite is in reach
        reached |= ~(bound > within).all(axis=1)
        if reached.all():  # where many join, the first ones mostly reach all
            break
    return reached
