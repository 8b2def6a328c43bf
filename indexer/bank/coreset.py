"""Chooses the memory bank: a small subset of patches that covers all of them.

Greedy k-center selection (Gonzalez 1985; the coreset of PatchCore, Roth et al. 2022): the next pick
is the patch farthest from everything picked so far. Distances are measured after a seeded Gaussian
projection to at most 128 dimensions (Johnson and Lindenstrauss 1984), as PatchCore's authors do.

The order of picks is that of the plain greedy loop, at the speed of matrix products. A pass takes
the ``POOL`` patches farthest from the picks; as long as the best of them stays at least as far as
every patch outside the pool was when the pass began, it is the farthest of all, because distances
to the picks only shrink. Many picks are thus settled among a few thousand patches before all
patches are updated, with one matrix product for all picks of the pass.

At most `CHUNK_BYTES` of patches are held at once: each full chunk chooses its share, and the picks
of all chunks together are the coreset, whose radius is the largest radius of a chunk. Keeping more
of each chunk and selecting again among those (merge and reduce) covers worse: a patch that the
second selection drops uncovers the patches that only it had covered. Patches that fit into one
chunk are one selection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.knn.threads import one_thread

Float32 = NDArray[np.float32]

PROJECTED_DIM = 128
CHUNK_BYTES = 2 << 30
"""Bytes of patches held before a share is chosen, enough for 1.3 million patches of 384 values."""
POOL = 4096
_PROBED = 128
"""Picks of a measurement that tells the time of a selection."""
ROWS = 4096
"""Patches updated at a time, so that a block of distances stays in the processor's cache."""
SAME = 1e-5
"""Squared distances below this share of a patch's own squared norm count as zero: rounding leaves
up to a fifth of it between duplicates."""


@dataclass(frozen=True, slots=True)
class Coreset:
    """Picks that cover a set of points, and their covering radius.

    Attributes:
        indices: (M,) int64, in the order picked.
        radius: the largest distance of any given point to its nearest pick.
    """

    indices: NDArray[np.int64]
    radius: float


class PatchSampler:
    """Chooses a share of patches that arrive image by image, holding at most one chunk of them.

    Args:
        share: share of all patches to choose, in (0, 1].
        seed: seed of the projection and of the first pick.
        expected: upper limit of the number of patches; a small one saves memory.
        dim: length of a patch embedding.
    """

    def __init__(self, *, share: float, seed: int, expected: int, dim: int) -> None:
        self._share = share
        self._seed = seed
        rows = max(1, min(expected, CHUNK_BYTES // (4 * dim)))
        # one allocation, filled in place: the largest array of a build is never copied
        self._chunk = np.empty((rows, dim), dtype=np.float32)
        self._filled = 0
        self._added = 0
        self._picked: list[Float32] = []
        self._indices: list[NDArray[np.int64]] = []
        self._radius = 0.0

    def add(self, patches: Float32) -> None:
        """Take patches (n, D); they are numbered from 0 in the order they arrive."""
        while len(patches):
            if self._filled == len(self._chunk):
                self._pick()
            taken = min(len(patches), len(self._chunk) - self._filled)
            self._chunk[self._filled : self._filled + taken] = patches[:taken]
            self._filled += taken
            self._added += taken
            patches = patches[taken:]

    def choose(
        self, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[Float32, Coreset]:
        """Return the chosen patches (M, D) and their numbers; to be called once.

        The coreset's radius bounds the covering radius over all patches, after the projection.
        """
        self._pick(on_progress)
        del self._chunk
        vectors = self._picked[0] if len(self._picked) == 1 else np.concatenate(self._picked)
        return vectors, Coreset(np.concatenate(self._indices), self._radius)

    def _pick(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Replace the patches of the chunk by its picks."""
        chunk = self._chunk[: self._filled]
        due = round(self._share * self._added) - sum(len(picks) for picks in self._indices)
        coreset = greedy_k_center(
            project(chunk, self._seed), max(1, due), seed=self._seed, on_progress=on_progress
        )
        self._picked.append(chunk[coreset.indices])
        self._indices.append(coreset.indices + (self._added - self._filled))
        self._radius = max(self._radius, coreset.radius)
        self._filled = 0


def project(patches: Float32, seed: int, dim: int = PROJECTED_DIM) -> Float32:
    """Seeded projection of patches (N, D) to (N, min(D, dim)), which nearly preserves distances."""
    if patches.shape[1] <= dim:
        return patches
    matrix = np.random.default_rng(seed).standard_normal((patches.shape[1], dim), dtype=np.float32)
    return patches @ (matrix / np.float32(np.sqrt(dim)))


def greedy_k_center(
    points: Float32,
    count: int,
    *,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Coreset:
    """Pick ``count`` of the ``points`` (N, d) float32, the first at random from ``seed``.

    Stops early when every point coincides with a pick, so duplicates are never picked twice.
    """
    total = len(points)
    count = min(count, total)
    if count < 1:
        raise ValueError(f"count must be at least 1 with at least 1 point, got {count} of {total}")
    points = points - points.mean(axis=0)  # smaller norms: less cancellation in the expansion
    squared_norms = np.einsum("nd,nd->n", points, points)
    nearest = np.full(total, np.inf, dtype=np.float32)  # squared distance to the nearest pick
    picked = [int(np.random.default_rng(seed).integers(total))]
    _update(nearest, points, squared_norms, picked)

    while len(picked) < count:
        pool, outside = _farthest(nearest)
        picks = _settle(
            points[pool],
            squared_norms[pool],
            nearest[pool],
            outside,
            count - len(picked),
        )
        if not len(picks):
            break
        fresh = pool[picks].tolist()
        picked.extend(fresh)
        _update(nearest, points, squared_norms, fresh)
        if on_progress:
            on_progress(len(picked), count)
    radius = float(np.sqrt(max(0.0, float(nearest.max()))))
    return Coreset(np.array(picked, dtype=np.int64), radius)


def expected_seconds(patches: int, chosen: int) -> float:
    """Seconds that choosing so many of so many patches takes here, from two small measurements.

    Taken in one thread: others of the machine disturb it less.
    """
    points = np.random.default_rng(0).standard_normal((ROWS, PROJECTED_DIM), dtype=np.float32)
    norms = np.einsum("nd,nd->n", points, points)
    far = np.full(ROWS, np.inf, dtype=np.float32)
    picks = list(range(_PROBED))
    with one_thread():
        updating = _fastest(lambda: _update(far.copy(), points, norms, picks)) / ROWS
        settling = _fastest(lambda: _settle(points, norms, norms, 0.0, _PROBED))
    return chosen / _PROBED * (settling + patches * updating)


def _fastest(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of some tries: what else the machine does only adds to them."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _farthest(nearest: Float32) -> tuple[NDArray[np.int64], float]:
    """Indices of the ``POOL`` farthest points, and the largest distance outside of them."""
    if len(nearest) <= POOL:
        return np.arange(len(nearest)), 0.0
    order = np.argpartition(nearest, len(nearest) - POOL - 1)
    return order[-POOL:], float(nearest[order[-POOL - 1]])


def _settle(
    points: Float32, squared_norms: Float32, nearest: Float32, outside: float, wanted: int
) -> list[int]:
    """Greedy picks that are certain within this pool, as positions in it."""
    nearest = nearest.copy()
    picks: list[int] = []
    while len(picks) < wanted:
        best = int(nearest.argmax())
        # a patch as far away as the best one outside is a farthest patch too: large sets of
        # duplicates tie, and waiting for a strict winner would end the selection
        if nearest[best] < outside or nearest[best] == 0.0:
            break
        picks.append(best)
        to_best = squared_norms + (squared_norms[best] - 2.0 * (points @ points[best]))
        _lower(nearest, to_best, squared_norms)
        nearest[best] = 0.0
    return picks


def _update(nearest: Float32, points: Float32, squared_norms: Float32, picks: list[int]) -> None:
    """Lower ``nearest`` in place to the distance to any of ``picks``."""
    chosen = points[picks]
    half_norms = squared_norms[picks][:, None] * 0.5
    for start in range(0, len(points), ROWS):
        stop = start + ROWS
        # (picks, rows): the minimum over picks then runs along contiguous rows
        products = chosen @ points[start:stop].T
        np.subtract(half_norms, products, out=products)
        distances = products.min(axis=0) * 2.0 + squared_norms[start:stop]
        _lower(nearest[start:stop], distances, squared_norms[start:stop])
    nearest[picks] = 0.0


def _lower(nearest: Float32, distances: Float32, squared_norms: Float32) -> None:
    """Lower ``nearest`` in place to ``distances``; values within rounding error become zero."""
    np.minimum(nearest, distances, out=nearest)
    nearest[nearest <= SAME * squared_norms] = 0.0
