"""Writes a library of many images to the embedded store, reopens it, and times its search."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from backbones.base import Backbone
from eval.benchmark.run import BenchmarkSettings
from eval.pages import page
from eval.speed.costs import folder_bytes, in_fresh_process, milliseconds, peak_mib
from eval.speed.library.queries import (
    ALIKE,
    CATEGORY,
    TOP,
    Query,
    QueryCost,
    kinds_of,
    sample,
    search,
    summaries,
)
from indexer.catalog.category import Category
from indexer.catalog.collections import create_collections, index_fields
from indexer.catalog.commits import commit, find_category
from indexer.catalog.entry import CatalogEntry
from indexer.catalog.schema import DEFECT
from indexer.data.dataset import read_dataset
from indexer.progress import Progress
from indexer.store.base import PayloadIndex, Point
from indexer.store.edge import EdgeStore
from indexer.store.edge_files import DISTANCES, MARKER, create_indexes
from indexer.store.open import open_store

_INT8 = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned)
VARIANTS: dict[str, dict[str, Any]] = {
    "f32 (the default)": {},
    "f32, not cached": {"memory": edge.Memory.Cold},
    "f16": {"datatype": edge.VectorStorageDatatype.Float16},
    "int8 in memory, f32 not cached": {"memory": edge.Memory.Cold, "quantization_config": _INT8},
}
"""The engine's ways to store vectors, as parameters of `edge.EdgeVectorParams`."""
OVERSAMPLING = (1.0, 3.0)
"""Candidates per hit that quantised vectors find and full vectors sort."""


def remake_collection(
    folder: Path,
    dims: Mapping[str, int],
    indexes: Mapping[str, PayloadIndex],
    params: dict[str, Any],
) -> None:
    """Replace a collection by an empty one with the vector parameters of a variant."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()
    vectors = {
        key: edge.EdgeVectorParams(size=size, distance=DISTANCES["cosine"], **params)
        for key, size in dims.items()
    }
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    create_indexes(shard, indexes)
    shard.close()


class RescoringStore(EdgeStore):
    """The embedded store, which rescores so many times ``top`` where vectors are quantised."""

    oversampling: float | None = None

    def _search_params(self, exact: bool) -> edge.SearchParams:
        if exact or self.oversampling is None:
            return super()._search_params(exact)
        rescored = edge.QuantizationSearchParams(rescore=True, oversampling=self.oversampling)
        return edge.SearchParams(quantization=rescored)


IMAGES, QUERIES = 100_000, 200


@dataclass(frozen=True, slots=True)
class LibraryCost:
    """Costs of one way to store the library.

    Attributes:
        ingest_per_s: images written per second. optimize_s: seconds to build the graphs. disk_mib:
            size of the whole store. open_s: seconds from the store's name to the first answer, in a
            fresh process whose interpreter has started.
        started_mib: largest resident memory of that process before it opens the store.
        peak_mib: the same after all approximate queries, including mapped files.
    """

    variant: str
    ingest_per_s: float
    optimize_s: float
    disk_mib: float
    open_s: float
    started_mib: float
    peak_mib: float
    queries: list[QueryCost]


@dataclass(frozen=True, slots=True)
class LibraryScale:
    """All measurements of a library of ``images``, of which ``defective`` are defective."""

    real_images: int
    images: int
    defective: int
    dim: int
    costs: list[LibraryCost]


def measure_library(
    dataset: Path,
    network: Backbone,
    *,
    images: int = IMAGES,
    queries: int = QUERIES,
    seed: int = 0,
    on_progress: Progress = lambda stage, done, total: None,
) -> LibraryScale:
    """Sample ``images`` from the library of ``dataset``, and measure each of the `VARIANTS`."""
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        root = Path(folder)
        rng = np.random.default_rng(seed)
        records = read_dataset(dataset)
        with BenchmarkSettings().learnt(records, CATEGORY, network, on_progress) as (store, build):
            entry = build.entry
            real = list(store.scroll(build.category.images, with_vectors=True))
            library = list(sample(build.category, real, images, rng))
            sampled = list(sample(build.category, real, queries, rng))
        searched = [
            Query(point, vector, where) for point in sampled for vector, where in kinds_of(point)
        ]
        costs = []
        for done, (name, params) in enumerate(VARIANTS.items(), 1):
            costs.append(_measure(name, params, entry, library, searched, root / str(done)))
            on_progress("variants", done, len(VARIANTS))
    defective = sum(DEFECT in point.vectors for point in library)
    return LibraryScale(len(real), images, defective, network.spec.dim, costs)


def _measure(
    name: str,
    params: dict[str, Any],
    entry: CatalogEntry,
    library: Sequence[Point],
    queries: Sequence[Query],
    folder: Path,
) -> LibraryCost:
    with open_store(str(folder)) as store:
        category = Category(store, entry)
        collection = category.images
        create_collections(category)
        index_fields(category, ("line", "date"))
        commit(category)
        dims = {key: vector.size for key, vector in store.vector_params(collection).items()}
        indexes = store.payload_indexes(collection)
    remake_collection(folder / collection, dims, indexes, params)
    with open_store(str(folder)) as store:
        writing, _ = milliseconds(partial(store.upsert, collection, library))
        optimizing, _ = milliseconds(partial(store.optimize, collection))
        store.flush(collection)
    oversampling = OVERSAMPLING if "quantization_config" in params else (None,)
    return LibraryCost(
        name,
        1e3 * len(library) / writing,
        optimizing / 1e3,
        folder_bytes(folder) / 2**20,
        *in_fresh_process(_open_and_search, folder, queries, oversampling),
    )


def _open_and_search(
    folder: Path, queries: Sequence[Query], oversampling: Sequence[float | None]
) -> tuple[float, float, float, list[QueryCost]]:
    """Seconds to open, resident MiB before opening and at most, and results of the queries."""
    started = peak_mib()
    began = time.perf_counter()
    with RescoringStore(folder) as store:
        category = find_category(store, CATEGORY)
        search(category, queries[:1], exact=False)
        open_s = time.perf_counter() - began
        answers = {}
        for times in oversampling:
            store.oversampling = times
            method = "HNSW" if times is None else f"HNSW, {times:g} x {TOP} rescored"
            answers[method] = search(category, queries, exact=False)
        peak = peak_mib()
        answers["exact"] = search(category, queries, exact=True)
    return open_s, started, peak, list(summaries(queries, answers))


def library_page(scale: LibraryScale, title: str, command: str, load: str) -> str:
    """The whole page in Markdown; ``load`` describes the load of the machine in words."""
    return page(
        "library.md", scale=scale, title=title, command=command, load=load, top=TOP, alike=ALIKE
    )
