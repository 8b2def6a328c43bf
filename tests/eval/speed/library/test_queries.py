from __future__ import annotations

import numpy as np
import pytest

from eval.speed.library.queries import ALIKE, FILTERS, Query, kinds_of, sample, summaries
from indexer.catalog.category import Category, library_image
from indexer.catalog.commits import find_category
from indexer.catalog.schema import DEFECT, WHOLE
from indexer.store.base import Point, VectorStore


def test_defective_image_is_searched_by_both_vectors_under_every_filter() -> None:
    point = Point("1", {WHOLE: [0.0], DEFECT: [0.0]}, {"score": None})  # type: ignore[dict-item]
    assert set(kinds_of(point)) == {(v, f) for v in (WHOLE, DEFECT) for f in FILTERS}


def test_normal_image_has_no_type_to_filter_by_and_asks_alike_if_it_has_a_score() -> None:
    point = Point("1", {WHOLE: [0.0]}, {"score": 1.5})  # type: ignore[dict-item]
    assert kinds_of(point) == [(WHOLE, ALIKE), (WHOLE, "none"), (WHOLE, "label")]


def test_recall_is_the_share_of_the_exact_answers_of_the_same_kind_of_query() -> None:
    point = Point("1", {}, {})
    queries = [
        Query(point, WHOLE, "none"),
        Query(point, WHOLE, "none"),
        Query(point, DEFECT, "none"),
    ]
    answers = {
        "HNSW": [(1.0, {"a", "b"}), (3.0, {"c"}), (5.0, {"e"})],
        "exact": [(9.0, {"a", "b"}), (9.0, {"c", "d"}), (9.0, {"f"})],
    }
    found = {(cost.vector, cost.method): cost for cost in summaries(queries, answers)}
    assert set(found) == {(v, m) for v in (WHOLE, DEFECT) for m in ("HNSW", "exact")}
    assert found[WHOLE, "HNSW"].recall == pytest.approx(3 / 4)
    assert (found[WHOLE, "HNSW"].count, found[WHOLE, "HNSW"].p50_ms) == (2, 2.0)
    assert found[DEFECT, "HNSW"].recall == 0
    assert found[WHOLE, "exact"].recall == 1


def _library(category: Category) -> list[Point]:
    return list(category.store.scroll(category.images, with_vectors=True))


def test_sampled_images_are_like_the_real_ones_and_no_two_alike(learnt: VectorStore) -> None:
    category = find_category(learnt, "grid")
    real = _library(category)
    drawn = list(sample(category, real, 300, np.random.default_rng(0)))
    assert len({point.id for point in drawn}) == 300
    types = {str(point.payload["defect_type"]) for point in real}
    assert {library_image(point.payload).defect_type for point in drawn} == types
    assert all((DEFECT in p.vectors) == (p.payload["label"] == "defective") for p in drawn)
    middle = np.mean([point.vectors[WHOLE] for point in real], axis=0)

    def scatter(points: list[Point]) -> float:
        return float(np.mean([np.linalg.norm(p.vectors[WHOLE] - middle) for p in points]))

    assert scatter(drawn) == pytest.approx(scatter(real), rel=0.3)


def test_same_seed_samples_the_same_library(learnt: VectorStore) -> None:
    category = find_category(learnt, "grid")
    real = _library(category)
    first, second = (list(sample(category, real, 9, np.random.default_rng(3))) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.id, a.payload) == (b.id, b.payload)
        np.testing.assert_array_equal(a.vectors[WHOLE], b.vectors[WHOLE])
