"""Writes a library of many images to the embedded store, opens it anew, and times its search."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from backbones.base import Backbone
from eval.speed.learning import peak_mib
from eval.speed.sampled_library import draw
from indexer.catalog.collections import create_collections, index_fields, similar_images
from indexer.catalog.commits import find_entry, write_entry
from indexer.catalog.schema import (
    DEFECT,
    USER,
    WHOLE,
    CatalogEntry,
    images_collection,
    library_image,
)
from indexer.data.image_records import read_dataset
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.store.base import Hit, PayloadIndex, Point, Vector, VectorStore, Where
from indexer.store.edge import EdgeStore
from indexer.store.edge_files import DISTANCES, MARKER, create_indexes
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator
from search.retrieval.neighbors import conditions, neighbors

CATEGORY = "library"
IMAGES, QUERIES, TOP = 100_000, 200, 10
FILTERS = ("none", "label", "label, type", "label, type, line")
ALIKE = "deviates alike"
"""The question of `similar` by whole image when no label or type is asked for."""

_INT8 = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned)
VARIANTS: dict[str, dict[str, Any]] = {
    "f32 (the default)": {},
    "f32, not cached": {"memory": edge.Memory.Cold},
    "f16": {"datatype": edge.VectorStorageDatatype.Float16},
    "int8 in memory, f32 not cached": {
        "memory": edge.Memory.Cold,
        "quantization_config": _INT8,
    },
}
"""Ways of the engine to keep vectors, as parameters of `edge.EdgeVectorParams`."""
OVERSAMPLING = (1.0, 3.0)
"""Of quantised vectors: so many times ``TOP`` are found, and sorted by their full vectors."""


@dataclass(frozen=True, slots=True)
class QueryCost:
    """Top-10 queries of one kind.

    Attributes:
        vector: ``whole`` or ``defect``. where: the filter beside the revision and the query's own
            file, or `ALIKE`. method: ``exact`` or ``HNSW``. count: of queries.
        p50_ms, p95_ms: of a query. recall: share of the exact answer that was found.
    """

    vector: str
    where: str
    method: str
    count: int
    p50_ms: float
    p95_ms: float
    recall: float


@dataclass(frozen=True, slots=True)
class LibraryCost:
    """One way to keep the library.

    Attributes:
        ingest_per_s: images written a second. optimize_s: to build the graphs.
        disk_mib: of the whole store. open_s: from the store's name to the first answer, in a
            fresh process whose interpreter has started.
        started_mib: the largest resident memory of that process before it opens the store.
        peak_mib: the same after all approximate queries; mapped files count.
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
    """Everything measured; of ``images`` so many were ``defective``."""

    real_images: int
    images: int
    defective: int
    dim: int
    costs: list[LibraryCost]


@dataclass(frozen=True, slots=True)
class _Query:
    point: Point
    vector: str
    where: str


def measure_library(
    dataset: Path,
    network: Backbone,
    *,
    images: int = IMAGES,
    queries: int = QUERIES,
    seed: int = 0,
    on_progress: Progress = lambda stage, done, total: None,
) -> LibraryScale:
    """Draw ``images`` from the library of ``dataset``, and measure each of the `VARIANTS`."""
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        root = Path(folder)
        entry, real = _learn(dataset, network, root / "real", on_progress)
        rng = np.random.default_rng(seed)
        library = list(draw(entry, real, images, rng))
        asked = [
            _Query(point, vector, where)
            for point in draw(entry, real, queries, rng)
            for vector, where in _kinds(point)
        ]
        costs = []
        for done, (name, params) in enumerate(VARIANTS.items(), 1):
            costs.append(_measure(name, params, entry, library, asked, root / str(done)))
            on_progress("variants", done, len(VARIANTS))
    defective = sum(DEFECT in point.vectors for point in library)
    return LibraryScale(len(real), images, defective, network.spec.dim, costs)


def _learn(
    dataset: Path, network: Backbone, folder: Path, on_progress: Progress
) -> tuple[CatalogEntry, list[Point]]:
    """The catalog entry of the data set, and the points of its library."""
    with open_store(str(folder)) as store:
        entry = build_index(
            read_dataset(dataset),
            category=CATEGORY,
            backbone=network,
            store=store,
            calibrator=ConformalCalibrator(),
            on_progress=on_progress,
        ).entry
        library = images_collection(CATEGORY, entry.backbone)
        return entry, list(store.scroll(library, with_vectors=True))


def _kinds(point: Point) -> list[tuple[str, str]]:
    """The vectors and filters that a query is asked with."""
    scored = [] if point.payload["score"] is None else [(WHOLE, ALIKE)]
    if DEFECT not in point.vectors:
        return [*scored, (WHOLE, "none"), (WHOLE, "label")]
    return [*scored, *itertools.product((WHOLE, DEFECT), FILTERS)]


def _measure(
    name: str,
    params: dict[str, Any],
    entry: CatalogEntry,
    library: Sequence[Point],
    asked: Sequence[_Query],
    folder: Path,
) -> LibraryCost:
    collection = images_collection(CATEGORY, entry.backbone)
    with open_store(str(folder)) as store:
        create_collections(store, entry)
        index_fields(store, entry, ("line", "date"))
        write_entry(store, entry)
        dims = {key: vector.size for key, vector in store.vector_params(collection).items()}
        indexes = store.payload_indexes(collection)
    _make_anew(folder / collection, dims, indexes, params)
    with open_store(str(folder)) as store:
        began = time.perf_counter()
        store.upsert(collection, library)
        written = time.perf_counter()
        store.optimize(collection)
        optimized = time.perf_counter()
        store.flush(collection)
    size = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    oversampling = OVERSAMPLING if "quantization_config" in params else (None,)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        opened = pool.submit(_open_and_ask, folder, asked, oversampling).result()
    return LibraryCost(
        name, len(library) / (written - began), optimized - written, size / 2**20, *opened
    )


def _make_anew(
    folder: Path,
    dims: Mapping[str, int],
    indexes: Mapping[str, PayloadIndex],
    params: dict[str, Any],
) -> None:
    """Make an empty collection again, with the parameters of a variant for its vectors."""
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


class _Rescoring(EdgeStore):
    """The embedded store; where vectors are quantised, with so many times ``top`` rescored."""

    oversampling: float | None = None

    def query(
        self,
        name: str,
        vector: Vector,
        *,
        using: str,
        top: int,
        where: Where | None = None,
        exact: bool = True,
    ) -> list[Hit]:
        """See `VectorStore`."""
        if exact or self.oversampling is None:
            return super().query(name, vector, using=using, top=top, where=where, exact=exact)
        rescored = edge.QuantizationSearchParams(rescore=True, oversampling=self.oversampling)
        request = edge.QueryRequest(
            limit=top,
            query=edge.Query.Nearest(vector.tolist(), using=using),
            with_payload=True,
            filter=self._filter(name, where),
            params=edge.SearchParams(quantization=rescored),
        )
        found = self._shard(name).query(request)
        return [Hit(str(hit.id), hit.score, hit.payload or {}) for hit in found]


def _open_and_ask(
    folder: Path, asked: Sequence[_Query], oversampling: Sequence[float | None]
) -> tuple[float, float, float, list[QueryCost]]:
    """Seconds to open, MiB before it and at most, and what the queries took."""
    started = peak_mib()
    began = time.perf_counter()
    with _Rescoring(folder) as store:
        entry = find_entry(store, CATEGORY)
        _ask(store, entry, asked[:1], exact=False)
        open_s = time.perf_counter() - began
        answers = {}
        for times in oversampling:
            store.oversampling = times
            method = "HNSW" if times is None else f"HNSW, {times:g} x {TOP} rescored"
            answers[method] = _ask(store, entry, asked, exact=False)
        peak = peak_mib()
        answers["exact"] = _ask(store, entry, asked, exact=True)
    return open_s, started, peak, list(_summaries(asked, answers))


def _ask(
    store: VectorStore, entry: CatalogEntry, asked: Sequence[_Query], *, exact: bool
) -> list[tuple[float, set[str]]]:
    """Milliseconds and ids of the answer of each query."""
    answers = []
    for query in asked:
        payload = query.point.payload
        wanted = conditions(
            without=str(payload["sha256"]),
            label=str(payload["label"]) if "label" in query.where else None,
            defect_type=str(payload["defect_type"]) if "type" in query.where else None,
            where={"line": str(payload[USER + "line"])} if "line" in query.where else {},
        )
        vector = query.point.vectors[query.vector]
        began = time.perf_counter()
        if query.where == ALIKE:
            found = neighbors(
                store,
                entry,
                vector,
                by="whole",
                top=TOP,
                where=wanted,
                score=library_image(payload).score,
                exact=exact,
            )
            ids = {neighbor.image_id for neighbor in found}
        else:
            hits = similar_images(
                store, entry, vector, top=TOP, where=wanted, using=query.vector, exact=exact
            )
            ids = {hit.id for hit in hits}
        answers.append(((time.perf_counter() - began) * 1e3, ids))
    return answers


def _summaries(
    asked: Sequence[_Query], answers: Mapping[str, Sequence[tuple[float, set[str]]]]
) -> Iterator[QueryCost]:
    truth = [ids for _, ids in answers["exact"]]
    for vector, where in itertools.product((WHOLE, DEFECT), (*FILTERS, ALIKE)):
        rows = [i for i, q in enumerate(asked) if (q.vector, q.where) == (vector, where)]
        if not rows:
            continue
        for method, found in answers.items():
            took = [found[i][0] for i in rows]
            hit = sum(len(found[i][1] & truth[i]) for i in rows)
            p50, p95 = (float(np.percentile(took, share)) for share in (50, 95))
            recall = hit / max(1, sum(len(truth[i]) for i in rows))
            yield QueryCost(vector, where, method, len(rows), p50, p95, recall)
