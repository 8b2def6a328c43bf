"""The rival without a coreset: plain fp32 brute force over every normal patch.

Image scores only. An image's score is the largest over its patches of the distance to the
nearest normal patch, so a patch whose distance to *some* normal patches is already below the
largest one found cannot decide it. Patches are therefore taken in descending order of such an
upper bound and the scan stops when no bound is above the maximum. The distances themselves are
those of the fp32 expansion |q|^2 - 2 q.b + |b|^2 over the whole set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, Skipped, embed_files

Float32 = NDArray[np.float32]

_PATCHES_AT_ONCE = 16
_ROWS_AT_ONCE = 32_768
_SLACK = 1 + 1e-4


class BruteForce:
    """All patches of the normal images of ``paths``, none left out."""

    def __init__(self, backbone: Backbone, paths: Sequence[Path]) -> None:
        spec = backbone.spec
        self._backbone = backbone
        patches = np.empty((len(paths), spec.grid**2, spec.dim), dtype=np.float32)
        count = 0
        for features in embed_files(backbone, paths):
            if isinstance(features, ImageFeatures):
                patches[count] = features.patches.reshape(-1, spec.dim)
                count += 1
        self._patches = patches[:count].reshape(-1, spec.dim)
        self._squared = np.einsum("nd,nd->n", self._patches, self._patches)

    def __len__(self) -> int:
        return len(self._patches)

    def scores(self, paths: Iterable[Path], upper_bounds: Iterable[Float32]) -> list[float]:
        """Image score of each file, nan where it cannot be read.

        ``upper_bounds``: per file, (H, W) float32 distances to any subset of these patches.
        """
        outcomes = embed_files(self._backbone, paths)
        return [
            float("nan")
            if isinstance(outcome, Skipped)
            else self.score(outcome.patches.reshape(-1, outcome.patches.shape[-1]), bounds.ravel())
            for outcome, bounds in zip(outcomes, upper_bounds, strict=True)
        ]

    def score(self, queries: Float32, upper_bounds: Float32) -> float:
        """Largest nearest-neighbour distance of ``queries`` (Q, D), bounded above by (Q,)."""
        order = np.argsort(-upper_bounds)
        largest = 0.0
        for start in range(0, len(order), _PATCHES_AT_ONCE):
            part = order[start : start + _PATCHES_AT_ONCE]
            if upper_bounds[part[0]] * _SLACK < largest:
                break
            largest = max(largest, float(self._nearest(queries[part]).max()))
        return largest

    def _nearest(self, queries: Float32) -> Float32:
        best = np.full(len(queries), np.inf, dtype=np.float32)
        for start in range(0, len(self._patches), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            distances = queries @ self._patches[rows].T
            distances *= -2
            distances += self._squared[rows]
            np.minimum(best, distances.min(axis=1), out=best)
        best += np.einsum("qd,qd->q", queries, queries)
        return np.sqrt(np.maximum(best, 0))
