"""Ranking metrics: shares of search results with the query's type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.arrays import Bool, Float32, Int64
from indexer.data.image_records import DatasetError


@dataclass(frozen=True, slots=True)
class RetrievalFigures:
    """Means over the queries for which there is another image of the same kind.

    Attributes:
        queries: number of queries.
        p_at_1, p_at_5: share of the same kind among the first and the first five found.
        mean_ap: average precision over the whole ranking.
        ndcg: discounted gain of the ranking relative to that of the best one (gain 1 for the same
            kind).
        chance: share of the same kind in a random ranking, the level of ``p_at_1`` by guessing.
    """

    queries: int
    p_at_1: float
    p_at_5: float
    mean_ap: float
    ndcg: float
    chance: float


def cosines(embeddings: Float32) -> Float32:
    """Cosine (N, N) between embeddings (N, D)."""
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit @ unit.T, np.float32)


def retrieval_figures(likeness: Float32, kinds: Sequence[str], parts: Int64) -> RetrievalFigures:
    """Rank, for each of N images, the images of other product parts; ties go to the earlier.

    ``likeness`` (N, N) has one row per query. ``parts`` (N,) come from
    `eval.benchmark.product_parts`. DatasetError is raised if no query has another image of its
    kind.
    """
    order = np.argsort(-likeness, axis=1, kind="stable")
    labels = np.asarray(kinds)
    others = [row[parts[row] != part] for row, part in zip(order, parts, strict=True)]
    return ranking_figures([labels[o] == kind for o, kind in zip(others, labels, strict=True)])


def ranking_figures(rankings: Sequence[Bool]) -> RetrievalFigures:
    """Averages over rankings, which are true at each place with an image of the query's kind.

    DatasetError is raised if no query has another image of its kind.
    """
    figures = np.array([_figures_of_one(same) for same in rankings if same.any()])
    if not len(figures):
        raise DatasetError(
            "no query has another image of its kind: expected two or more, of different parts."
        )
    return RetrievalFigures(len(figures), *figures.mean(axis=0).tolist())


def _figures_of_one(same: Bool) -> tuple[float, float, float, float, float]:
    """P@1, P@5, average precision, nDCG and chance of a ranking (N,) with at least one hit."""
    rank = np.arange(1, len(same) + 1)
    discount = 1 / np.log2(rank + 1)
    precision = np.cumsum(same) / rank
    return (
        float(same[0]),
        float(same[:5].mean()),
        float(precision[same].mean()),
        float(discount[same].sum() / discount[: same.sum()].sum()),
        float(same.mean()),
    )
