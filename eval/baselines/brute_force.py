"""The baseline without a coreset: plain fp32 brute force over every normal patch.

It gives image scores only. A patch whose distance to *some* normal patches is already below the
largest nearest-neighbour distance found in its image cannot determine the score. Patches are
therefore searched in descending order of such an upper bound until no bound exceeds the maximum.
The distances are those of the fp32 expansion |q|^2 - 2 q.b + |b|^2 over the whole set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, Skipped, embed_images
from eval.arrays import Float32

_PATCHES_AT_ONCE = 16
_ROWS_AT_ONCE = 32_768
_SLACK = 1 + 1e-4


class BruteForce:
    """Baseline that keeps all patches (N, D) of the normal images."""

    def __init__(self, backbone: Backbone, patches: Float32) -> None:
        self._backbone = backbone
        self._patches = patches
        self._squared = np.einsum("nd,nd->n", patches, patches)

    @classmethod
    def fit(cls, backbone: Backbone, normal: Sequence[Path]) -> BruteForce:
        """Embed the ``normal`` images; those that cannot be read are left out."""
        spec = backbone.spec
        patches = np.empty((len(normal), math.prod(spec.grid), spec.dim), dtype=np.float32)
        count = 0
        for features in embed_images(backbone, normal):
            if isinstance(features, ImageFeatures):
                patches[count] = features.patches.reshape(-1, spec.dim)
                count += 1
        return cls(backbone, patches[:count].reshape(-1, spec.dim))

    def __len__(self) -> int:
        return len(self._patches)

    def scores(self, paths: Iterable[Path], upper_bounds: Iterable[Float32]) -> list[float]:
        """Image score of each file, nan if it cannot be read.

        ``upper_bounds`` holds, per file, (H, W) float32 distances to any subset of these patches.
        """
        outcomes = embed_images(self._backbone, paths)
        return [
            float("nan")
            if isinstance(outcome, Skipped)
            else self.score(outcome.patches.reshape(-1, outcome.patches.shape[-1]), bounds.ravel())
            for outcome, bounds in zip(outcomes, upper_bounds, strict=True)
        ]

    def score(self, queries: Float32, upper_bounds: Float32) -> float:
        """Largest nearest-neighbour distance of ``queries`` (Q, D), with upper bounds (Q,)."""
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
