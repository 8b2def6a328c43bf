"""Times the exact nearest-neighbour search on real features, alongside brute force."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, embed_images
from eval.arrays import Float32, Int64
from eval.baselines.external import ExternalBaseline
from eval.speed.costs import Timing, alternate, item_name
from indexer.bank.coreset import greedy_k_center, project
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError, normal_images
from indexer.knn.exact_index import ExactIndex
from indexer.progress import Progress

SIDE = 28
"""Rows and columns of the central cells of an image that are searched, 784 queries in all."""


def measure_knn(
    dataset: Path,
    network: Backbone,
    *,
    sizes: Sequence[int],
    dim: int,
    images: int,
    against_faiss: bool,
    seed: int = 0,
    on_progress: Progress = lambda stage, done, total: None,
) -> tuple[list[Timing], float]:
    """Search ``images`` test images in banks of each of the ``sizes``.

    The banks are the first picks of one greedy selection among all normal patches, so each is the
    coreset of its size. Patches are cut to their last ``dim`` values, those of the deepest layers.

    Returns:
        The timings, including that of the bare matrix product, and the largest relative excess of
        vecspect's distances, computed in float64, over those of the nearest found by any method.
    """
    records = read_dataset(dataset)
    tests = [record.path for record in records if record.split == "test"]
    step = max(1, len(tests) // (images + 1))
    patches = embed_patches(network, normal_images(records), dim, on_progress)
    if len(patches) < max(sizes):
        raise DatasetError(
            f"{dataset} has {len(patches)} normal patches, but a bank of {max(sizes)} was "
            "requested."
        )
    picks = greedy_k_center(
        project(patches, seed),
        max(sizes),
        seed=seed,
        on_progress=lambda done, total: on_progress("coreset", done, total),
    ).indices
    banks = {size: patches[picks[:size]] for size in sizes}
    del patches
    middle = tuple(slice((n - SIDE) // 2, (n + SIDE) // 2) for n in network.spec.grid)
    queries = {
        item_name(outcome.path): np.ascontiguousarray(
            outcome.patches[(*middle, slice(-dim, None))].reshape(-1, dim)
        )
        for outcome in embed_images(network, tests[::step][: images + 1])
        if isinstance(outcome, ImageFeatures)
    }
    timings: list[Timing] = []
    excess = 0.0
    with contextlib.ExitStack() as stack:
        external = stack.enter_context(ExternalBaseline()) if against_faiss else None
        for size, bank in banks.items():
            case = f"{SIDE**2} queries, bank {size} x {dim}"
            excess = max(excess, _measure_bank(case, bank, queries, external, timings, on_progress))
    return timings, excess


def embed_patches(
    network: Backbone, paths: Sequence[Path], dim: int, on_progress: Progress
) -> Float32:
    """(N, dim) float32, the last ``dim`` values of every patch of the readable images."""
    cells = math.prod(network.spec.grid)
    patches = np.empty((len(paths) * cells, dim), dtype=np.float32)
    count = 0
    for done, outcome in enumerate(embed_images(network, paths), 1):
        on_progress("embedding", done, len(paths))
        if isinstance(outcome, ImageFeatures):
            patches[count : count + cells] = outcome.patches.reshape(cells, -1)[:, -dim:]
            count += cells
    return patches[:count]


def _measure_bank(
    case: str,
    bank: Float32,
    queries: dict[str, Float32],
    external: ExternalBaseline | None,
    timings: list[Timing],
    on_progress: Progress,
) -> float:
    index = ExactIndex(bank)
    squared = np.einsum("md,md->m", bank, bank)
    tensor = torch.from_numpy(bank)
    if external:
        external.ask("faiss_load", bank=external.write("bank", bank))
    excess = 0.0
    for done, (name, vectors) in enumerate(queries.items()):
        rows: list[Timing] = []
        found = alternate(
            case,
            name,
            {
                "vecspect": partial(_vecspect, vectors, index),
                "numpy fp32": partial(_numpy, vectors, bank, squared),
                "torch.cdist": partial(_torch, vectors, tensor),
                "bare fp32 matrix product": partial(_product, vectors, bank),
            },
            rows,
        )
        del found["bare fp32 matrix product"]
        if external:
            sent, target = external.write("queries", vectors), external.folder / "indices.npy"
            answer = external.ask("faiss_search", queries=sent, indices=str(target))
            found["faiss"] = np.load(target)
            rows.append(Timing(case, "faiss FlatL2", name, answer["milliseconds"]))
        if done:  # the first image warms up
            timings += rows
        exact = vectors.astype(np.float64)
        distances = {m: np.linalg.norm(exact - bank[ids], axis=1) for m, ids in found.items()}
        nearest = np.minimum.reduce(list(distances.values()))
        beyond = distances["vecspect"] - nearest
        excess = max(excess, float((beyond / np.maximum(nearest, 1e-18)).max()))
        on_progress(case, done + 1, len(queries))
    return excess


def _vecspect(queries: Float32, index: ExactIndex) -> Int64:
    return index.search(queries).indices


def _numpy(queries: Float32, bank: Float32, squared: Float32) -> Int64:
    distances = queries @ bank.T
    distances *= -2
    distances += squared
    return np.asarray(distances.argmin(axis=1))


@torch.inference_mode()
def _torch(queries: Float32, bank: torch.Tensor) -> Int64:
    indices: Int64 = torch.cdist(torch.from_numpy(queries), bank).argmin(dim=1).numpy()
    return indices


def _product(queries: Float32, bank: Float32) -> Int64:
    return np.array(np.shape(queries @ bank.T))
