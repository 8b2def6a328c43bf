"""Measures how cost grows with the bank, the training images and the image size."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, embed_images, network_input
from eval.arrays import Float32, Uint8
from eval.speed.costs import folder_bytes, milliseconds
from eval.speed.knn import embed_patches
from eval.speed.learning import Learned, Learning, learn_sizes
from indexer.data.dataset import read_dataset
from indexer.data.image_records import normal_images
from indexer.knn.exact_index import ExactIndex
from indexer.progress import Progress
from indexer.scoring.anomaly_map import anomaly_map
from indexer.store.base import Point, VectorParams, VectorStore
from indexer.store.open import open_store

BANKS = (1_000, 4_000, 16_000, 64_000, 240_000)
LARGEST_IN_ENGINE = 64_000
SIDES = (256, 512, 1024, 2048, 4096)
IMAGES = 4
REPEATS = 3
"""Repetitions of a step, for its median."""
_COLLECTION, _VECTOR = "bank", "patch"


@dataclass(frozen=True, slots=True)
class BankCost:
    """Cost of one image against a bank of ``patches`` random normal patches.

    Attributes:
        index_ms: time to prepare the resident index. search_ms: median time for all patches of one
            image. resident_bytes: size of the bank and of its index.
    """

    patches: int
    index_ms: float
    search_ms: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class EngineCost:
    """Cost of one image against the bank in the engine, with an HNSW graph.

    Attributes:
        ingest_s, graph_s: time to write the points and to build the graph. folder_bytes: size on
            disk. search_ms: one approximate query per patch of one image, median over images.
        recall: share of the patches whose true nearest neighbour was found. inflation: largest
            ratio of the found distance to the true one.
        recheck_ms: time for exact queries of the highest patches in descending order, until the
            largest exact distance is at least the next approximate one, which bounds the rest from
            above. rechecked: median number of patches for that. wrong: images whose score is then
            still not the exact one.
    """

    patches: int
    ingest_s: float
    graph_s: float
    folder_bytes: int
    search_ms: float
    recall: float
    inflation: float
    recheck_ms: float
    rechecked: float
    wrong: int


@dataclass(frozen=True, slots=True)
class ImageCost:
    """Cost of a photo of ``side`` x ``side`` pixels: to the network's input, and from its map."""

    side: int
    input_ms: float
    map_ms: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """All measurements on one network; ``network_ms`` is the time for one image."""

    cells: int
    dim: int
    network_ms: float
    banks: list[BankCost]
    engine: list[EngineCost]
    learned: list[Learned]
    photos: list[ImageCost]


def measure_scaling(
    learning: Learning,
    network: Backbone,
    *,
    banks: Sequence[int] = BANKS,
    sides: Sequence[int] = SIDES,
    on_progress: Progress = lambda stage, done, total: None,
) -> Scaling:
    """Measure on the normal patches of the data set; larger banks than these are left out."""
    records = read_dataset(learning.dataset)
    tests = [record.path for record in records if record.split == "test"]
    tests = tests[:: max(1, len(tests) // IMAGES)][:IMAGES]
    spec, dim = network.spec, network.spec.dim
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        root = Path(folder)
        learned = learn_sizes(learning, root, on_progress)
        patches = embed_patches(network, normal_images(records), dim, on_progress)
        np.random.default_rng(0).shuffle(patches)
        queries = [
            np.ascontiguousarray(outcome.patches.reshape(-1, dim))
            for outcome in embed_images(network, tests)
            if isinstance(outcome, ImageFeatures)
        ]
        sizes = [size for size in banks if size <= len(patches)]
        resident, engine = [], []
        for done, size in enumerate(sizes, 1):
            cost, distances = _resident(patches[:size], queries)
            resident.append(cost)
            if size <= LARGEST_IN_ENGINE:
                engine.append(_engine(patches[:size], queries, distances, root / f"engine{size}"))
            on_progress("banks", done, len(sizes))
        inputs = network_input(tests[0], spec).pixels[None]
        network_ms = milliseconds(partial(network.embed, inputs), REPEATS)[0]
        photos = [_photo(tests[0], side, network, root) for side in sides]
    return Scaling(math.prod(spec.grid), dim, network_ms, resident, engine, learned, photos)


def _resident(bank: Float32, queries: Sequence[Float32]) -> tuple[BankCost, list[Float32]]:
    index_ms, index = milliseconds(partial(ExactIndex, bank))
    index.search(queries[0])
    took, distances = [], []
    for patches in queries:
        elapsed, nearest = milliseconds(partial(index.search, patches), REPEATS)
        took.append(elapsed)
        distances.append(nearest.distances)
    return BankCost(len(bank), index_ms, median(took), index.nbytes), distances


def _engine(
    bank: Float32, queries: Sequence[Float32], exact: Sequence[Float32], folder: Path
) -> EngineCost:
    with open_store(str(folder)) as store:
        store.create_collection(
            _COLLECTION, {_VECTOR: VectorParams(bank.shape[1], "euclid", indexed=True)}, {}
        )
        points = (
            Point(str(uuid.UUID(int=row)), {_VECTOR: vector}, {"row": row})
            for row, vector in enumerate(bank)
        )
        ingest_ms, _ = milliseconds(partial(store.upsert, _COLLECTION, points))
        store.flush(_COLLECTION)
        graph_ms, _ = milliseconds(partial(store.optimize, _COLLECTION))
        took, checks, counts, found_all, wrong, inflation = [], [], [], 0, 0, 1.0
        for patches, truth in zip(queries, exact, strict=True):
            elapsed, found = milliseconds(partial(_nearest, store, patches))
            took.append(elapsed)
            excess = found / np.maximum(truth, 1e-12)
            found_all += int((excess <= 1 + 1e-4).sum())
            inflation = max(inflation, float(excess.max()))
            elapsed, (score, count) = milliseconds(partial(_recheck, store, patches, found))
            checks.append(elapsed)
            counts.append(count)
            wrong += not math.isclose(score, float(truth.max()), rel_tol=1e-4)
    total = sum(len(patches) for patches in queries)
    return EngineCost(
        len(bank),
        ingest_ms / 1e3,
        graph_ms / 1e3,
        folder_bytes(folder),
        median(took),
        found_all / total,
        inflation,
        median(checks),
        median(counts),
        wrong,
    )


def _nearest(store: VectorStore, patches: Float32) -> Float32:
    """(Q,) distances found by the graph."""
    return np.array([_distance(store, patch, exact=False) for patch in patches], np.float32)


def _recheck(store: VectorStore, patches: Float32, found: Float32) -> tuple[float, int]:
    """The exact image score, and the number of exact queries it needed (see `EngineCost`)."""
    best, count = 0.0, 0
    for row in np.argsort(-found):
        if best >= found[row]:
            break
        best = max(best, _distance(store, patches[row], exact=True))
        count += 1
    return best, count


def _distance(store: VectorStore, patch: Float32, *, exact: bool) -> float:
    (hit,) = store.query(_COLLECTION, patch, using=_VECTOR, top=1, exact=exact)
    return hit.score


def _photo(source: Path, side: int, network: Backbone, root: Path) -> ImageCost:
    spec, path = network.spec, root / f"{side}.png"
    with Image.open(source) as opened:
        opened.convert("RGB").resize((side, side)).save(path)

    def read() -> Uint8:
        return network_input(path, spec).pixels

    draw = partial(anomaly_map, np.ones(spec.grid, np.float32), spec.geometry((side, side)))
    draw()  # the cached matrices of a size are made only once
    return ImageCost(side, milliseconds(read, REPEATS)[0], milliseconds(draw, REPEATS)[0])
