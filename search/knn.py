"""Exact nearest neighbour of each query patch over a memory bank held in memory.

How few full distances decide: let P be the orthogonal projection on the bank's leading principal
axes, and r(x) the length of what P leaves of x. By the reverse triangle inequality

    |q - b|^2  >=  |Pq - Pb|^2 + (r(q) - r(b))^2,

and the right side is itself a squared distance, between the short vectors (Pq, r(q)) and
(Pb, r(b)). One small matrix product gives these lower bounds for all pairs. The pair with the
least bound is measured in full; only bank patches whose bound, less the rounding error it can
have, does not exceed that distance can be nearer, and each of them is measured in full too. So
the answer is the true nearest neighbour, certified, whatever the data; only the time depends on it.

The bounds are taken about the bank's mean, where norms, and so rounding errors, are small. What is
measured in full is the difference of the vectors as they came: a shift would round away distances
that are tiny beside the norms. Distances are resolved down to 1e-18, where float32 squares end.
"""

from __future__ import annotations

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Float32 = NDArray[np.float32]

AXES = 64
CHUNK_PAIRS = 2_500_000
"""Bounds computed at a time: a chunk (10 MB) stays in the last-level cache."""
PAIRS_IN_FULL = 8192
"""Pairs measured in full at a time: bounds the memory of ties and adversarial data."""
MANY = 64
"""Candidates per query beyond which a full-length matrix product thins them out first."""
ROUNDING = 2.0**-24
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 16


@dataclass(frozen=True, slots=True)
class Nearest:
    """Per query: Euclidean ``distances`` (Q,) float32 and bank ``indices`` (Q,) int64."""

    distances: Float32
    indices: NDArray[np.int64]


class ExactIndex:
    """Exact 1-nearest-neighbour search over ``vectors`` (M, D) float32, M >= 1, all finite.

    The array is kept, not copied.
    """

    def __init__(self, vectors: Float32) -> None:
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"the bank must have shape (M, D) with M >= 1, got {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise _unusable("bank holds")
        self._bank = vectors
        self._mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - self._mean  # float64: the bounds start from exact data
        squared = np.einsum("md,md->m", centred, centred)
        if squared.max() > LARGEST_SQUARE:
            raise _unusable("bank holds")
        self._axes = _principal_axes(centred)
        self._largest = float(np.sqrt(squared.max()))
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
        if not np.isfinite(queries).all():
            raise _unusable("queries hold")
        # one chunk a core, each with a single-threaded BLAS: every step runs in parallel, not the
        # product alone, and no BLAS thread is left spinning when the network runs next
        with _blas().limit(limits=1):
            return self._search(queries)

    def _search(self, queries: Float32) -> Nearest:
        centred = queries - self._mean
        squared = np.einsum("qd,qd->q", centred, centred)
        if squared.max(initial=0) > LARGEST_SQUARE:
            raise _unusable("queries hold")
        short = _shorten(centred, squared, self._axes, np.ones(len(queries)))
        best = np.empty(len(queries), dtype=np.float32)
        indices = np.empty(len(queries), dtype=np.int64)

        def fill(part: slice) -> None:
            best[part], indices[part] = self._search_chunk(
                queries[part], short[part], squared[part]
            )

        list(_workers().map(fill, _parts(len(queries), len(self._bank))))
        return Nearest(np.sqrt(best), indices)

    def _search_chunk(
        self, queries: Float32, short: Float32, squared: NDArray[np.float64]
    ) -> tuple[Float32, NDArray[np.int64]]:
        # closeness = q.b - |b|^2/2; the squared distance (or its bound) is |q|^2 - 2 closeness
        closeness = short @ self._short.T
        guess = closeness.argmax(axis=1)
        best = self._measure(queries, np.arange(len(queries)), guess)
        scale = np.sqrt(squared) * self._largest + self._largest**2 / 2 + squared
        dim = queries.shape[1]
        floor = (squared - best * (1 + (dim + 4) * ROUNDING)) / 2
        # one rounding per addition of the product, those of the factors and of the floor, and what
        # cancels in the float64 length of the rest: the root of 20 dim 2^-53, twice
        error = (short.shape[1] + 8 + 2 * np.sqrt(dim)) * ROUNDING * scale
        query, bank = _at_least(closeness, floor - error)
        if len(query) > MANY * len(queries):
            centred = (queries - self._mean).astype(np.float32)
            np.matmul(centred, self._centred.T, out=closeness)
            closeness -= self._half_squared
            error = (dim + 8) * ROUNDING * scale
            query, bank = _at_least(closeness, floor - error)
        for start in range(0, len(query), PAIRS_IN_FULL):
            part = slice(start, start + PAIRS_IN_FULL)
            distances = self._measure(queries, query[part], bank[part])
            nearer = distances < best[query[part]]
            # farthest first, so that the last write per query is its nearest
            order = np.flatnonzero(nearer)[np.argsort(-distances[nearer], kind="stable")]
            best[query[part][order]] = distances[order]
            guess[query[part][order]] = bank[part][order]
        return best, guess

    @functools.cached_property
    def _centred(self) -> Float32:
        """(M, D): the bank about its mean, made only when the short bounds decide too little."""
        centred: Float32 = (self._bank - self._mean).astype(np.float32)
        return centred

    def _measure(
        self, queries: Float32, query: NDArray[np.int64], bank: NDArray[np.int64]
    ) -> Float32:
        """Squared distances of pairs by their difference: no cancellation, however near."""
        difference = self._bank[bank]
        difference -= queries[query]
        squared: Float32 = np.einsum("pd,pd->p", difference, difference)
        return squared


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="knn")


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parts(queries: int, bank: int) -> list[slice]:
    """Slices of the queries, even in size and the same number for every core."""
    chunks = -(-queries * bank // CHUNK_PAIRS)
    count = min(queries, -(-chunks // _cores()) * _cores())
    edges = [queries * i // max(1, count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _unusable(what: str) -> ValueError:
    return ValueError(f"the {what} values that are not finite or too large for float32")


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
