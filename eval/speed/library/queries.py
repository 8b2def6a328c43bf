"""A library of many images sampled from a small one, and its top-10 queries, timed and checked.

Each image is a point between two real images of the same defect type, at most halfway, plus noise
with half the scatter of a type's images around their mean. So an image keeps its neighbourhood, and
no two are the same.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eval.arrays import Float32
from indexer.catalog.category import Category, library_image
from indexer.catalog.collections import similar_images
from indexer.catalog.schema import DEFECT, USER, WHOLE
from indexer.store.base import Point
from search.retrieval.neighbors import conditions, neighbors

LINES = 8
"""Values of the user field ``line``."""
_HALF = 0.5
_ADDED_AT = "2026-01-01T00:00:00+00:00"


def sample(
    category: Category, real: Sequence[Point], count: int, rng: np.random.Generator
) -> Iterator[Point]:
    """``count`` library images similar to the ``real`` ones, as points of the category."""
    types = np.array([str(point.payload["defect_type"]) for point in real])
    missing = np.full(category.spec.dim, np.nan)
    vectors = {
        name: np.array([point.vectors.get(name, missing) for point in real], "f4")
        for name in (WHOLE, DEFECT)
    }
    scatter = {name: _within(matrix, types) for name, matrix in vectors.items()}
    alike = {kind: np.flatnonzero(types == kind) for kind in set(types)}
    for first in rng.integers(len(real), size=count):
        second = rng.choice(alike[types[first]])
        weight = rng.uniform(0, _HALF)
        sampled = {}
        for name in real[first].vectors:
            noise = rng.standard_normal(len(scatter[name]), "f4") @ scatter[name]
            between = (1 - weight) * vectors[name][first] + weight * vectors[name][second]
            sampled[name] = np.asarray(between + _HALF * noise, np.float32)
        yield _as_point(category, real[first].payload, sampled, rng)


def _within(matrix: Float32, types: NDArray[np.str_]) -> Float32:
    """(n, D) whose Gram matrix is the covariance within the types; rows of nan are left out."""
    present = ~np.isnan(matrix[:, 0])
    rows = [
        matrix[members] - matrix[members].mean(axis=0)
        for kind in sorted(set(types))
        if (members := present & (types == kind)).any()
    ]
    residuals = np.concatenate(rows) if rows else matrix[:0]
    return np.asarray(residuals / np.sqrt(max(1, len(residuals))), np.float32)


def _as_point(
    category: Category,
    payload: Mapping[str, object],
    vectors: Mapping[str, Float32],
    rng: np.random.Generator,
) -> Point:
    sha256 = rng.bytes(32).hex()
    image = replace(
        library_image(payload),
        image_id=category.image_id(sha256),
        path=f"/parts/{sha256[:8]}.png",
        sha256=sha256,
        group=sha256,
        fields={"line": str(rng.integers(LINES)), "date": f"2026-01-{rng.integers(1, 29):02}"},
        added_at=_ADDED_AT,
    )
    return category.image_point(image, vectors[WHOLE], vectors.get(DEFECT))


CATEGORY = "library"
TOP = 10
FILTERS = ("none", "label", "label, type", "label, type, line")
ALIKE = "scored alike"
"""Filter of `similar` by whole image if no label or type is given."""


@dataclass(frozen=True, slots=True)
class QueryCost:
    """Top-10 queries of one kind.

    Attributes:
        vector: ``whole`` or ``defect``. where: the filter in addition to the revision and the
            query's own file, or `ALIKE`. method: ``exact`` or ``HNSW``. count: number of queries.
            p50_ms, p95_ms: time of a query. recall: share of the exact answer that was found.
    """

    vector: str
    where: str
    method: str
    count: int
    p50_ms: float
    p95_ms: float
    recall: float


@dataclass(frozen=True, slots=True)
class Query:
    """A query by a sampled image: the vector to search by, and the filter."""

    point: Point
    vector: str
    where: str


def kinds_of(point: Point) -> list[tuple[str, str]]:
    """The vectors and filters with which an image is searched."""
    scored = [] if point.payload["score"] is None else [(WHOLE, ALIKE)]
    if DEFECT not in point.vectors:
        return [*scored, (WHOLE, "none"), (WHOLE, "label")]
    return [*scored, *itertools.product((WHOLE, DEFECT), FILTERS)]


def search(
    category: Category, queries: Sequence[Query], *, exact: bool
) -> list[tuple[float, set[str]]]:
    """Milliseconds and ids of the answer to each query."""
    answers = []
    for query in queries:
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
                category,
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
                category, vector, top=TOP, where=wanted, using=query.vector, exact=exact
            )
            ids = {hit.id for hit in hits}
        answers.append(((time.perf_counter() - began) * 1e3, ids))
    return answers


def summaries(
    queries: Sequence[Query], answers: Mapping[str, Sequence[tuple[float, set[str]]]]
) -> Iterator[QueryCost]:
    """Cost and recall by vector, filter and method; ``answers`` by method include ``exact``."""
    truth = [ids for _, ids in answers["exact"]]
    for vector, where in itertools.product((WHOLE, DEFECT), (*FILTERS, ALIKE)):
        rows = [i for i, q in enumerate(queries) if (q.vector, q.where) == (vector, where)]
        if not rows:
            continue
        for method, found in answers.items():
            took = [found[i][0] for i in rows]
            hit = sum(len(found[i][1] & truth[i]) for i in rows)
            p50, p95 = (float(np.percentile(took, share)) for share in (50, 95))
            recall = hit / max(1, sum(len(truth[i]) for i in rows))
            yield QueryCost(vector, where, method, len(rows), p50, p95, recall)
