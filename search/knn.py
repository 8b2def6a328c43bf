"""Exact nearest neighbour of each query patch over a memory bank held in memory.

How few full distances decide: let P be the orthogonal projection on the bank's leading principal
axes, and r(x) the length of what P leaves of x. By the reverse triangle inequality

    |q - b|^2  >=  |Pq - Pb|^2 + (r(q) - r(b))^2,

and the right side is itself a squared distance, between the short vectors (Pq, r(q)) and
(Pb, r(b)). One small matrix product gives these lower bounds for all pairs. The pair with the
least bound is measured in full; only bank patches whose bound, less the rounding error it can
have, does not exceed that distance can be nearer, and each of them is measured in full too. So
the answer is the true nearest neighbour, certified, whatever the data; only the time depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

AXES = 64
CHUNK_PAIRS = 2_500_000
"""Bounds computed at a time: a chunk (10 MB) stays in the last-level cache."""
PAIRS_IN_FULL = 8192
"""Pairs measured in full at a time: bounds the memory of ties and adversarial data."""
MANY = 64
"""Candidates per query beyond which a full-length matrix product thins them out first."""
ROUNDING = 2.0**-24


@dataclass(frozen=True, slots=True)
class Nearest:
    """Per query: Euclidean ``distances`` (Q,) float32 and bank ``indices`` (Q,) int64."""

    distances: Float32
    indices: NDArray[np.int64]


class ExactIndex:
    """Exact 1-nearest-neighbour search over ``vectors`` (M, D) float32, M >= 1, all finite."""

    def __init__(self, vectors: Float32) -> None:
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"the bank must have shape (M, D) with M >= 1, got {vectors.shape}")
        self._mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - self._mean  # float64: the bounds start from exact data
        squared = np.einsum("md,md->m", centred, centred)
        if not np.isfinite(squared).all() or squared.max() > np.finfo(np.float32).max / 16:
            raise ValueError("the bank holds values that are not finite or too large for float32")
        self._axes = _principal_axes(centred)
        self._largest = float(np.sqrt(squared.max()))
        self._bank = centred.astype(np.float32)
        self._half_squared = (squared / 2).astype(np.float32)
        self._short = _shorten(centred, squared, self._axes, -squared / 2)

    def __len__(self) -> int:
        return len(self._bank)

    def search(self, queries: Float32) -> Nearest:
        """Nearest bank vector of each of ``queries`` (Q, D) float32; ValueError if not finite."""
        if queries.ndim != 2 or queries.shape[1] != self._bank.shape[1]:
            raise ValueError(
                f"queries must have shape (Q, {self._bank.shape[1]}), got {queries.shape}"
            )
        centred = queries - self._mean
        squared = np.einsum("qd,qd->q", centred, centred)
        if not np.isfinite(squared).all() or squared.max(initial=0) > np.finfo(np.float32).max / 16:
            raise ValueError("the queries hold values that are not finite or too large for float32")
        short = _shorten(centred, squared, self._axes, np.ones(len(queries)))
        full = centred.astype(np.float32)
        best = np.empty(len(queries), dtype=np.float32)
        indices = np.empty(len(queries), dtype=np.int64)
        rows = max(1, CHUNK_PAIRS // len(self._bank))
        for start in range(0, len(queries), rows):
            part = slice(start, start + rows)
            best[part], indices[part] = self._search_chunk(full[part], short[part], squared[part])
        return Nearest(np.sqrt(best), indices)

    def _search_chunk(
        self, full: Float32, short: Float32, squared: NDArray[np.float64]
    ) -> tuple[Float32, NDArray[np.int64]]:
        # closeness = q.b - |b|^2/2; the squared distance (or its bound) is |q|^2 - 2 closeness
        closeness = short @ self._short.T
        guess = closeness.argmax(axis=1)
        best = self._measure(full, np.arange(len(full)), guess)
        # terms of the error: the product's additions and the rounding of both factors to float32
        norms = np.sqrt(squared)
        scale = norms * self._largest + self._largest**2 / 2 + squared
        floor = (squared - best) / 2
        error = (short.shape[1] + 8) * ROUNDING * scale
        query, bank = _at_least(closeness, floor - error)
        if len(query) > MANY * len(full):
            np.matmul(full, self._bank.T, out=closeness)
            closeness -= self._half_squared
            error = (full.shape[1] + 8) * ROUNDING * scale
            query, bank = _at_least(closeness, floor - error)
        for start in range(0, len(query), PAIRS_IN_FULL):
            part = slice(start, start + PAIRS_IN_FULL)
            distances = self._measure(full, query[part], bank[part])
            nearer = distances < best[query[part]]
            # farthest first, so that the last write per query is its nearest
            order = np.flatnonzero(nearer)[np.argsort(-distances[nearer], kind="stable")]
            best[query[part][order]] = distances[order]
            guess[query[part][order]] = bank[part][order]
        return best, guess

    def _measure(self, full: Float32, query: NDArray[np.int64], bank: NDArray[np.int64]) -> Float32:
        """Squared distances of pairs by their difference: no cancellation, however near."""
        difference = self._bank[bank]
        difference -= full[query]
        squared: Float32 = np.einsum("pd,pd->p", difference, difference)
        return squared


def _at_least(
    values: Float32, floor: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, column) of every value not below its row's floor; fast when they are few."""
    flags = (values >= floor.astype(np.float32)[:, None]).ravel()
    # eight flags a word: most words are zero, and one test each passes over them
    head = len(flags) // 8 * 8
    words = np.flatnonzero(flags[:head].view(np.uint64))
    word, byte = np.nonzero(flags[:head].reshape(-1, 8)[words])
    flat = np.concatenate([words[word] * 8 + byte, head + np.flatnonzero(flags[head:])])
    return flat // values.shape[1], flat % values.shape[1]


def _principal_axes(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, k) orthonormal columns that carry most of the bank's variance."""
    sample = centred[:: max(1, len(centred) // 20_000)]
    _, vectors = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors[:, ::-1][:, :AXES])


def _shorten(
    centred: NDArray[np.float64],
    squared: NDArray[np.float64],
    axes: NDArray[np.float64],
    last: NDArray[np.float64],
) -> Float32:
    """(N, k + 2): coordinates on the axes, the length of the rest, and ``last``."""
    coordinates = centred @ axes
    rest = squared - np.einsum("nk,nk->n", coordinates, coordinates)
    return np.column_stack([coordinates, np.sqrt(np.maximum(rest, 0.0)), last]).astype(np.float32)
