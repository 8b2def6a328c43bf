"""Exact nearest neighbour of each query patch in a memory bank held in memory.

README.md beside this file explains why no nearer vector is ever skipped, whatever the data; only
the time depends on the data. `indexer.knn.skip_bounds` derives the two lower bounds,
`indexer.knn.kernels` applies them, six queries and sixteen bank vectors at a time. A query for
which they rule out little, as an estimate over a sample of the bank shows, is compared with every
bank vector by a full-length matrix product instead. Full distances are measured from the original
vectors: a shift would round away distances that are tiny compared with the norms. Distances are
resolved down to 1e-18, the limit of float32 squares.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from indexer.knn import kernels
from indexer.knn.kernels import LANES, PADDING, ROUNDING, Float32, Float64, Found, Int64, Queries
from indexer.knn.pca import Projections
from indexer.knn.skip_bounds import (
    LARGEST_SQUARE,
    LONGEST,
    coarsen,
    lay_out,
    projection_of,
    rounding_of,
)
from indexer.knn.threads import one_thread

GROUP = 512
"""Largest group size: its coarse vectors stay in a core's cache while all queries pass."""
NEAREST_GROUPS = 2
"""Groups per query, chosen by their centres, that give the first upper bound."""
SAMPLE = 128
"""Bank vectors sampled to find the queries for which the bounds do not help."""
MANY = 1 / 4
"""Share of the sample that may remain for a query; beyond it, a full-length product is safer."""
PLACES = 2048
"""Bank vectors per full-length product, which bounds the memory for adversarial data."""
QUERIES = 1024
"""Queries searched at a time by one core."""
_FLOAT64 = 1e-6
"""Steps, more than the rounding error of float64 arithmetic on coarse vectors."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """Nearest bank vector of each query: Euclidean ``distances`` float32, ``indices`` int64."""

    distances: Float32
    indices: Int64


class ExactIndex:
    """Exact 1-nearest-neighbour search over ``vectors`` (M, D) float32, M >= 1, all finite.

    The array is kept, not copied; the index adds about 140 bytes per row.
    """

    def __init__(self, vectors: Float32) -> None:
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"the bank must have shape (M, D) with M >= 1, got {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise _unusable("bank holds")
        vectors = np.ascontiguousarray(vectors)
        self._searching = threading.Lock()
        self._projection = projection_of(vectors)
        projected = self._project(vectors, "bank holds")
        self._longest = float(np.sqrt(projected.squared.max()))
        self._unit = self._longest / LONGEST or 1.0
        coarse = coarsen(projected.values, self._unit)
        self._error = float(coarse.error.max())
        self._bank = lay_out(vectors, projected.values, coarse, GROUP)
        filled = self._bank.rows != PADDING
        self._halves = np.full(len(filled), -np.inf, dtype=np.float32)
        self._halves[filled] = projected.squared[self._bank.rows[filled]] / -2
        sample = projected.values[:: -(-len(vectors) // SAMPLE)]
        self._sample = sample, _half_squared(sample)
        edges = itertools.pairwise(self._bank.edges * LANES)
        groups = (self._bank.rows[a:b] for a, b in edges)
        centres = np.stack(
            [projected.values[rows[rows != PADDING]].mean(axis=0) for rows in groups]
        )
        self._centres = centres, _half_squared(centres)

    def __len__(self) -> int:
        return len(self._bank.vectors)

    @property
    def nbytes(self) -> int:
        """Bytes of the bank and of the index over it."""
        arrays = (*self._bank, self._halves, *self._centres, *self._sample)
        return sum(array.nbytes for array in arrays)

    def search(self, queries: Float32) -> Nearest:
        """Nearest bank vector of each of ``queries`` (..., D) float32, in arrays (...).

        Raises:
            ValueError: a query has another length, or is not finite.
        """
        dim = self._bank.vectors.shape[1]
        if queries.ndim < 2 or queries.shape[-1] != dim:
            raise ValueError(f"queries must have shape (..., {dim}), got {queries.shape}")
        if not np.isfinite(queries).all():
            raise _unusable("queries hold")
        shape, queries = queries.shape[:-1], np.ascontiguousarray(queries.reshape(-1, dim))
        found = Found(np.empty(len(queries), np.float32), np.empty(len(queries), np.int64))
        # chunks side by side: every step runs in parallel, not only the products
        with one_thread(), self._cores() as cores:
            parts = _parts(len(queries), cores)
            chunks = ((queries[p], Found(found.squared[p], found.places[p])) for p in parts)
            run = map if cores == 1 else _workers().map
            list(run(lambda chunk: self._search(*chunk), chunks))
        indices = self._bank.rows[found.places]
        return Nearest(np.sqrt(found.squared).reshape(shape), indices.reshape(shape))

    @contextmanager
    def _cores(self) -> Iterator[int]:
        """Cores to search with: all; half of them for a thread that finds another one searching."""
        alone = self._searching.acquire(blocking=False)
        try:
            yield _cores() if alone else max(1, _cores() // 2)
        finally:
            if alone:
                self._searching.release()

    def _search(self, vectors: Float32, found: Found) -> None:
        """Fill ``found`` for one chunk of queries (Q, D)."""
        projected = self._project(vectors, "queries hold")
        lengths = np.sqrt(projected.squared)
        # a query too long for 16 bits is placed at the mean: no bank vector is farther from there
        fits = lengths <= 2 * self._longest
        coarse = coarsen(projected.values * fits[:, None], self._unit)
        queries = Queries(
            vectors=vectors,
            projected=projected.values,
            coarse=coarse.values.view(np.int32),
            squared=coarse.squared.astype(np.float64),
            rounding=rounding_of(lengths + self._longest, vectors.shape[1]),
            slack=coarse.error + self._error + _FLOAT64,
            unit=self._unit,
        )
        closeness = _closeness(projected.values, *self._centres)
        groups = closeness.shape[1]
        count = max(1, min(NEAREST_GROUPS, groups // 4))
        chosen = np.argpartition(closeness, groups - count, axis=1)[:, groups - count :]
        kernels.guess(self._bank, queries, np.ascontiguousarray(chosen), found)
        within = (np.sqrt(found.squared) + queries.rounding) ** 2
        floors = (np.einsum("qk,qk->q", projected.values, projected.values) - within) / 2
        kept = _closeness(projected.values, *self._sample) >= floors[:, None]
        hopeless = kept.mean(axis=1) > MANY
        kernels.scan(self._bank, queries, ~hopeless, found)
        if hopeless.any():
            self._search_at_full_length(queries, projected.squared, np.flatnonzero(hopeless), found)

    def _project(self, vectors: Float32, what: str) -> Projections:
        projected = self._projection.project(vectors)
        if not projected.squared.max() <= LARGEST_SQUARE:
            raise _unusable(what)
        return projected

    def _search_at_full_length(
        self, queries: Queries, squared: Float64, rows: Int64, found: Found
    ) -> None:
        """Lower what is found for the queries ``rows``; ``squared`` (Q,) are their lengths."""
        bank, mean = self._bank, self._projection.mean
        centred, dim = queries.vectors[rows] - mean, len(mean)
        # one rounding per addition of the product, and those of the factors and of the floor
        scale = np.sqrt(squared) * self._longest + self._longest**2 / 2 + squared
        allowed = (dim + 8) * ROUNDING * scale
        for start in range(0, len(bank.rows), PLACES):
            part = slice(start, start + PLACES)
            at_most = found.squared * np.float64(1 + (dim + 4) * ROUNDING)
            floors = ((squared - at_most) / 2 - allowed).astype(np.float32)[rows]
            closeness = centred @ (bank.vectors[bank.rows[part]] - mean).T + self._halves[part]
            pairs = np.argwhere(closeness >= floors[:, None])
            pairs = np.column_stack([rows[pairs[:, 0]], pairs[:, 1] + start])
            kernels.settle(bank, queries, pairs, found)


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="knn")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parts(queries: int, cores: int) -> list[slice]:
    """Slices of the queries, of even size and equally many for every core."""
    rounds = -(-queries // (QUERIES * cores))
    count = min(queries, rounds * cores)
    edges = [queries * i // max(1, count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _unusable(what: str) -> ValueError:
    return ValueError(f"the {what} values that are not finite or too large for float32")


def _half_squared(vectors: Float32) -> Float32:
    half_squared: Float32 = np.einsum("nk,nk->n", vectors, vectors) / 2
    return half_squared


def _closeness(queries: Float32, vectors: Float32, half_squared: Float32) -> Float32:
    """(Q, N) q.v - |v|^2 / 2, because the squared distance is |q|^2 less twice that."""
    closeness: Float32 = queries @ vectors.T - half_squared
    return closeness
