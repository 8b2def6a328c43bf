"""Times the choice of the memory bank on real features, alongside the plain greedy loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from backbones.base import Backbone
from eval.arrays import Float32, Int64
from eval.speed.costs import Timing, alternate, milliseconds
from eval.speed.knn import embed_patches
from indexer.bank import coreset as selection
from indexer.bank.coreset import PatchSampler, greedy_k_center, project
from indexer.data.dataset import read_dataset
from indexer.data.image_records import normal_images
from indexer.knn.exact_index import ExactIndex
from indexer.progress import Progress

PATCHES = 182_000
SHARES = (0.01, 0.1)
PLAIN_PICKS = 300
"""Picks of the plain loop that are timed; each costs the same, one pass over all patches."""
CHUNKS = 4
"""Number of chunks for the bounded-memory selection."""


@dataclass(frozen=True, slots=True)
class CoresetSpeed:
    """Timing and quality of the selection of one share of the patches.

    Attributes:
        same_picks: number of the plain loop's picks that equal vecspect's, in order, and number
            that it made.
        radius: largest distance of a patch to its nearest pick, in the patches' own dimensions.
        chunked_radius: the same for a selection in ``CHUNKS`` chunks.
    """

    share: float
    same_picks: tuple[int, int]
    radius: float
    chunked_radius: float

    def note(self) -> str:
        """A sentence on the selection."""
        same, made = self.same_picks
        return (
            f"{self.share:.0%}: the first {same} of {made} picks are the plain loop's; covering "
            f"radius {self.radius:.4g}, in chunks {self.chunked_radius:.4g} "
            f"({self.chunked_radius / self.radius:.3f} times)."
        )


def measure_coreset(
    dataset: Path,
    network: Backbone,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    on_progress: Progress = lambda stage, done, total: None,
) -> tuple[list[Timing], list[CoresetSpeed]]:
    """Choose each of the ``shares`` of at most ``PATCHES`` normal patches of ``dataset``."""
    normal = normal_images(read_dataset(dataset))
    patches = embed_patches(network, normal, network.spec.dim, on_progress)[:PATCHES]
    timings: list[Timing] = []
    results = []
    for share in shares:
        case = f"{share:.0%} of {len(patches)} x {patches.shape[1]}"
        count = round(share * len(patches))
        methods = {
            "vecspect": partial(_ours, patches, count, seed),
            f"vecspect in {CHUNKS} chunks": partial(_in_chunks, patches, share, seed),
        }
        ours, chunked = alternate(case, "all", methods, timings).values()
        on_progress(case, 2, 3)
        projecting, short = milliseconds(partial(project, patches, seed))
        first = int(ours[0])
        took, plain = milliseconds(partial(_plain_loop, short, first, min(PLAIN_PICKS, count)))
        method = f"plain loop, from its first {len(plain)} picks"
        whole = projecting + took * count / len(plain)
        timings.append(Timing(case, method, "all", whole))
        del short
        same = next((i for i, pick in enumerate(plain) if pick != ours[i]), len(plain))
        radii = [_radius(patches, patches[picks]) for picks in (ours, chunked)]
        results.append(CoresetSpeed(share, (same, len(plain)), *radii))
        on_progress(case, 3, 3)
    return timings, results


def _ours(patches: Float32, count: int, seed: int) -> Int64:
    return greedy_k_center(project(patches, seed), count, seed=seed).indices


def _in_chunks(patches: Float32, share: float, seed: int) -> Int64:
    chunk_bytes = -(-len(patches) // CHUNKS) * patches.shape[1] * 4
    with mock.patch.object(selection, "CHUNK_BYTES", chunk_bytes):
        sampler = PatchSampler(share=share, seed=seed, expected=len(patches), dim=patches.shape[1])
        sampler.add(patches)
        return sampler.choose()[1].indices


def _plain_loop(points: Float32, first: int, count: int) -> list[int]:
    """Gonzalez's loop: pick the farthest point, update all distances, repeat."""
    points = points - points.mean(axis=0)
    squared = np.einsum("nd,nd->n", points, points)
    picks = [first]
    nearest = squared - 2 * (points @ points[first]) + squared[first]
    while len(picks) < count:
        pick = int(nearest.argmax())
        picks.append(pick)
        np.minimum(nearest, squared - 2 * (points @ points[pick]) + squared[pick], out=nearest)
    return picks


def _radius(patches: Float32, bank: Float32) -> float:
    index = ExactIndex(bank)
    parts = (patches[start : start + 4096] for start in range(0, len(patches), 4096))
    return max(float(index.search(part).distances.max()) for part in parts)
