from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from eval.metrics.retrieval import cosines, retrieval_figures
from indexer.data.image_records import DatasetError


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(6, 20), st.integers(2, 4))
def test_figures_are_those_of_scikit_learn_query_by_query(
    seed: int, count: int, types: int
) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((count, 5)).astype(np.float32)
    kinds = [str(k) for k in rng.integers(0, types, count)]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    aps, gains, first = [], [], []
    for i, kind in enumerate(kinds):
        others = [j for j in range(count) if j != i]
        truth = np.array([kinds[j] == kind for j in others])
        if truth.any():
            scores = unit[others] @ unit[i]
            aps.append(average_precision_score(truth, scores))
            gains.append(ndcg_score(truth[None].astype(int), scores[None]))
            first.append(bool(truth[int(np.argmax(scores))]))
    figures = retrieval_figures(cosines(embeddings), kinds, np.arange(count))
    assert figures.queries == len(aps)
    assert math.isclose(figures.mean_ap, np.mean(aps), rel_tol=1e-5)
    assert math.isclose(figures.ndcg, np.mean(gains), rel_tol=1e-5)
    assert math.isclose(figures.p_at_1, np.mean(first), rel_tol=1e-5)


def test_perfect_and_hopeless_search_have_their_figures() -> None:
    corners = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
    alone = np.arange(12)
    perfect = retrieval_figures(cosines(corners), ["a"] * 6 + ["b"] * 6, alone)
    assert (perfect.p_at_1, perfect.p_at_5, perfect.mean_ap, perfect.ndcg) == (1, 1, 1, 1)
    assert perfect.chance == pytest.approx(5 / 11)
    mixed = retrieval_figures(cosines(corners), ["a", "b", "c", "d", "e", "f"] * 2, alone)
    assert mixed.p_at_5 == 0


def test_queries_need_another_image_of_their_kind() -> None:
    embeddings, alone = np.eye(4, dtype=np.float32), np.arange(4)
    assert retrieval_figures(cosines(embeddings), ["a", "a", "b", "c"], alone).queries == 2
    with pytest.raises(DatasetError, match="no query has another image of its kind"):
        retrieval_figures(cosines(embeddings), ["a", "b", "c", "d"], alone)


def test_what_is_found_of_the_part_itself_does_not_count() -> None:
    """Each part lies at a place of its own, whatever its defect: seen again, it is found again."""
    places = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    kinds, parts = ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3, np.repeat(np.arange(4), 3)
    assert retrieval_figures(cosines(places), kinds, np.arange(12)).p_at_1 == 1
    left_out = retrieval_figures(cosines(places), kinds, parts)
    assert left_out.p_at_1 == 0.25  # all others are equally far: the earliest comes first
    assert left_out.chance == pytest.approx(3 / 9)
    with pytest.raises(DatasetError, match="of different parts"):
        retrieval_figures(cosines(places), kinds, np.zeros(12, np.int64))
