"""Exact nearest neighbour of each query patch over a memory bank held in memory.

A pair measured in full is an upper bound of the query's answer; a bank vector whose *lower* bound
is above it is out. Three lower bounds, each dearer and tighter than the one before, leave a
handful of the bank to be measured in full (`search.lower_bounds` derives them):

1. the distance from the query to a box around a group of a few hundred bank vectors puts out
   whole groups;
2. a matrix product with the group's coarse vectors (64 axes) puts out most of the rest;
3. the difference of the fine vectors (128 axes), pair by pair, puts out most of what is left.

Every test allows for the rounding error that its bound can have, so nothing nearer is ever put
out: the answer is the true nearest neighbour, certified, whatever the data; only the time depends
on it. A query for which the bounds decide little, as an estimate over a sample of the bank shows,
is compared with every bank vector by a full-length matrix product in place of all three.

What is measured in full is the difference of the vectors as they came: a shift would round away
distances that are tiny beside the norms. Distances are resolved down to 1e-18, where float32
squares end.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.blas import one_thread
from search.lower_bounds import (
    ROUNDING,
    Float32,
    Float64,
    Int64,
    Shortener,
    rounding_of,
    split_into_leaves,
)

LEAF = 512
"""Largest group: its products with a chunk of queries stay in a core's cache."""
NEAREST_LEAVES = 2
"""Groups per query, by their centres, that the first upper bound comes from."""
SAMPLE_STEP = 64
"""Every so many bank vectors: enough to tell the queries that the bounds do not help."""
MANY = 1 / 16
"""Share of the sample that a query may keep; beyond it, one full-length product is cheaper."""
PENDING = 65_536
"""Pairs kept before their fine bounds are taken: bounds the memory of adversarial data."""
PAIRS_IN_FULL = 8192
"""Pairs measured in full at a time, for the same reason."""
QUERIES = 1024
"""Queries searched at a time by a core."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """Per query: Euclidean ``distances`` (Q,) float32 and bank ``indices`` (Q,) int64."""

    distances: Float32
    indices: Int64


class ExactIndex:
    """Exact 1-nearest-neighbour search over ``vectors`` (M, D) float32, M >= 1, all finite.

    The array is kept, not copied; the short vectors beside it add up to 195 values a row.
    """

    def __init__(self, vectors: Float32) -> None:
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"the bank must have shape (M, D) with M >= 1, got {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise _unusable("bank holds")
        self.bank = vectors
        self.shortener = Shortener(vectors)
        try:
            short = self.shortener.shorten(vectors)
        except ValueError:
            raise _unusable("bank holds") from None
        self.leaves = split_into_leaves(short.coarse, LEAF)
        order = self.leaves.order
        self.coarse = _append(short.coarse[order], -short.squared[order] / 2)
        self.fine = short.fine[order]
        self.largest = float(np.sqrt(short.squared.max()))

    def __len__(self) -> int:
        return len(self.bank)

    def search(self, queries: Float32) -> Nearest:
        """Nearest bank vector of each of ``queries`` (Q, D) float32; ValueError if not finite."""
        if queries.ndim != 2 or queries.shape[1] != self.bank.shape[1]:
            raise ValueError(
                f"queries must have shape (Q, {self.bank.shape[1]}), got {queries.shape}"
            )
        if not np.isfinite(queries).all():
            raise _unusable("queries hold")
        best = np.empty(len(queries), dtype=np.float32)
        indices = np.empty(len(queries), dtype=np.int64)

        def fill(part: slice) -> None:
            search = _Search(self, queries[part])
            search.run()
            best[part], indices[part] = search.best, self.leaves.order[search.nearest]

        # chunks side by side: every step runs in parallel, not the products alone
        with one_thread():
            list(_workers().map(fill, _parts(len(queries))))
        return Nearest(np.sqrt(best), indices)


class _Search:
    """The search of one chunk of queries (Q, D).

    Attributes:
        best: (Q,) float32 least squared distance measured so far.
        nearest: (Q,) int64 where it was measured, in the order of the leaves.
    """

    def __init__(self, index: ExactIndex, queries: Float32) -> None:
        self._index = index
        self._queries = queries
        try:
            self._short = index.shortener.shorten(queries)
        except ValueError:
            raise _unusable("queries hold") from None
        self._coarse = _append(self._short.coarse, np.ones(len(queries)))
        self._pending: list[tuple[Int64, Int64]] = []
        self.nearest = self._guess()
        self.best = self._measure(np.arange(len(queries)), self.nearest)

    def run(self) -> None:
        sample = self._coarse @ self._index.coarse[::SAMPLE_STEP].T
        hopeless = (sample >= self._coarse_floor()[:, None]).mean(axis=1) > MANY
        within = self._index.leaves.distances(self._coarse) <= self._fine_ceiling()[:, None]
        self._visit(within & ~hopeless[:, None], self._coarse_candidates)
        if hopeless.any():
            everywhere = np.broadcast_to(hopeless[:, None], within.shape)
            self._visit(everywhere, self._full_length_candidates)

    def _guess(self) -> Int64:
        """The least coarse bound within the leaves whose centres are nearest."""
        leaves, coarse = self._index.leaves, self._coarse
        closeness = coarse @ leaves.centres.T
        count = max(1, min(NEAREST_LEAVES, len(leaves) // 4))
        chosen = np.argpartition(-closeness, count - 1, axis=1)[:, :count]
        top = np.full(len(coarse), -np.inf, dtype=np.float32)
        guess = np.zeros(len(coarse), dtype=np.int64)
        for leaf in np.unique(chosen):
            rows = np.flatnonzero((chosen == leaf).any(axis=1))
            part = leaves.rows(leaf)
            closeness = coarse[rows] @ self._index.coarse[part].T
            column = closeness.argmax(axis=1)
            value = closeness[np.arange(len(rows)), column]
            nearer = value > top[rows]
            top[rows[nearer]] = value[nearer]
            guess[rows[nearer]] = column[nearer] + part.start
        return guess

    def _visit(
        self,
        wanted: NDArray[np.bool_],
        candidates: Callable[[Int64, slice], tuple[Int64, Int64]],
    ) -> None:
        """Collect the candidates of each leaf for the queries that want it, (Q, L), and decide."""
        count = 0
        for leaf in np.flatnonzero(wanted.any(axis=0)):
            rows = np.flatnonzero(wanted[:, leaf])
            part = self._index.leaves.rows(int(leaf))
            row, column = candidates(rows, part)
            self._pending.append((rows[row], column + part.start))
            count += len(row)
            if count > PENDING:
                self._decide()
                count = 0
        self._decide()

    def _coarse_candidates(self, rows: Int64, part: slice) -> tuple[Int64, Int64]:
        # q.b - |b|^2/2 of the coarse vectors: their squared distance is |q|^2 less twice that
        closeness = self._coarse[rows] @ self._index.coarse[part].T
        return _at_least(closeness, self._coarse_floor(rows))

    def _full_length_candidates(self, rows: Int64, part: slice) -> tuple[Int64, Int64]:
        index, mean = self._index, self._index.shortener.mean
        closeness = (self._queries[rows] - mean) @ (index.bank[index.leaves.order[part]] - mean).T
        closeness += index.coarse[part, -1]
        dim = self._queries.shape[1]
        return _at_least(closeness, self._floor(rows, dim + 8))

    def _coarse_floor(self, rows: Int64 | slice = slice(None)) -> Float32:
        # one rounding per addition of the product, those of the factors and of the floor, and
        # what cancels in the length of the rest
        dim = self._queries.shape[1]
        return self._floor(rows, self._coarse.shape[1] + 8 + 2 * np.sqrt(dim))

    def _floor(self, rows: Int64 | slice, roundings: float) -> Float32:
        """Closeness below which no bank vector can be nearer than the best so far."""
        squared, largest = self._short.squared[rows], self._index.largest
        scale = np.sqrt(squared) * largest + largest**2 / 2 + squared
        floor = (squared - self._best_at_most(rows)) / 2 - roundings * ROUNDING * scale
        return floor.astype(np.float32)

    def _fine_ceiling(self) -> Float32:
        """Squared distance of short vectors above which no bank vector can be nearer."""
        dim = self._queries.shape[1]
        lengths = np.sqrt(self._short.squared) + self._index.largest
        distance = np.sqrt(self._best_at_most(slice(None))) + rounding_of(lengths, dim)
        ceiling = distance**2 * (1 + (self._short.fine.shape[1] + 8) * ROUNDING)
        return np.asarray(ceiling, dtype=np.float32)

    def _best_at_most(self, rows: Int64 | slice) -> Float64:
        """What the best squared distance may be in exact arithmetic."""
        dim = self._queries.shape[1]
        at_most: Float64 = self.best[rows] * np.float64(1 + (dim + 4) * ROUNDING)
        return at_most

    def _decide(self) -> None:
        """Take the pending pairs' fine bounds, and measure those that these do not put out."""
        if not self._pending:
            return
        query, bank = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        self._pending.clear()
        difference = self._index.fine[bank]
        difference -= self._short.fine[query]
        bound = np.einsum("pk,pk->p", difference, difference)
        kept = np.flatnonzero(bound <= self._fine_ceiling()[query])
        kept = kept[np.lexsort((bound[kept], query[kept]))]
        # the least bound of each query first: mostly it is the answer, and puts out the others
        is_first = np.diff(query[kept], prepend=-1) != 0
        self._lower(query[kept[is_first]], bank[kept[is_first]])
        others = kept[~is_first]
        others = others[bound[others] <= self._fine_ceiling()[query[others]]]
        for start in range(0, len(others), PAIRS_IN_FULL):
            part = others[start : start + PAIRS_IN_FULL]
            self._lower(query[part], bank[part])

    def _lower(self, query: Int64, bank: Int64) -> None:
        """Measure pairs in full and keep what is nearer than the best."""
        distances = self._measure(query, bank)
        nearer = distances < self.best[query]
        # farthest first, so that the last write per query is its nearest
        order = np.flatnonzero(nearer)[np.argsort(-distances[nearer], kind="stable")]
        self.best[query[order]] = distances[order]
        self.nearest[query[order]] = bank[order]

    def _measure(self, query: Int64, bank: Int64) -> Float32:
        """Squared distances of pairs by their difference: no cancellation, however near."""
        difference = self._index.bank[self._index.leaves.order[bank]]
        difference -= self._queries[query]
        squared: Float32 = np.einsum("pd,pd->p", difference, difference)
        return squared


def nearest_of_few(queries: Float32, vectors: Float32) -> Nearest:
    """Nearest of a few vectors (M, D), M >= 1, for each of ``queries`` (Q, D), by one product.

    For banks too small to be worth an `ExactIndex`. What is nearest is told by the product, to
    its rounding error; how near, by the difference.
    """
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    closeness = (queries - mean) @ centred.T - np.einsum("md,md->m", centred, centred) / 2
    indices = closeness.argmax(axis=1)
    difference = queries - vectors[indices]
    squared = np.einsum("qd,qd->q", difference, difference)
    return Nearest(np.sqrt(squared, dtype=np.float32), indices)


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="knn")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parts(queries: int) -> list[slice]:
    """Slices of the queries, even in size and the same number for every core."""
    rounds = -(-queries // (QUERIES * _cores()))
    count = min(queries, rounds * _cores())
    edges = [queries * i // max(1, count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _unusable(what: str) -> ValueError:
    return ValueError(f"the {what} values that are not finite or too large for float32")


def _append(vectors: Float32, column: Float64) -> Float32:
    return np.column_stack([vectors, column]).astype(np.float32)


def _at_least(values: Float32, floor: Float32) -> tuple[Int64, Int64]:
    """(row, column) of every value not below its row's floor; fast when they are few."""
    flags = (values >= floor[:, None]).ravel()
    # eight flags a word: most words are zero, and one test each passes over them
    head = len(flags) // 8 * 8
    words = np.flatnonzero(flags[:head].view(np.uint64))
    word, byte = np.nonzero(flags[:head].reshape(-1, 8)[words])
    flat = np.concatenate([words[word] * 8 + byte, head + np.flatnonzero(flags[head:])])
    return flat // values.shape[1], flat % values.shape[1]
