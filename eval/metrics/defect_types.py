"""Measures how well defect types are proposed, and how well groups of defects match them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import v_measure_score

from eval.arrays import Float32, Int64
from indexer.catalog.entry import LibraryImage
from search.retrieval.clustering import group_alike
from search.retrieval.type_proposal import UNKNOWN, TypeProposer

COVERAGES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class ProposalFigures:
    """Quality of the proposed types of N defects.

    Attributes:
        unknown: share of answers ``unknown``.
        accuracy: share named correctly among the other answers; nan if there are none.
        commonest: share of the most frequent type, which is the accuracy of always naming it.
        risks: share named incorrectly among the most confident `COVERAGES` of all defects, with
            ``nearest_type`` as the answer: the risk-coverage curve (El-Yaniv and Wiener 2010).
    """

    defects: int
    unknown: float
    accuracy: float
    commonest: float
    risks: tuple[float, ...]


def proposal_figures(vectors: Float32, types: Sequence[str], parts: Int64) -> ProposalFigures:
    """Leave one product part out at a time over N defect embeddings (N, D) of these types.

    ``parts`` (N,) come from `eval.benchmark.product_parts`. Everything that a proposal relies on is
    measured again without the query's part; at least two defects must be left.
    """
    images = [
        LibraryImage(str(i), "", "", "defective", kind, "test", 1, 1, None, str(i))
        for i, kind in enumerate(types)
    ]
    answers = []
    for i in range(len(types)):
        others = np.flatnonzero(parts != parts[i])
        proposer = TypeProposer(vectors[others], [images[j] for j in others])
        answers.append(proposer.propose(vectors[i]))
    answered = np.array([answer.defect_type != UNKNOWN for answer in answers])
    right = np.array([a.nearest_type == kind for a, kind in zip(answers, types, strict=True)])
    surest = np.argsort([-answer.confidence for answer in answers], kind="stable")
    return ProposalFigures(
        defects=len(types),
        unknown=float(1 - answered.mean()),
        accuracy=float(right[answered].mean()) if answered.any() else float("nan"),
        commonest=max(Counter(types).values()) / len(types),
        risks=tuple(float(1 - right[surest[: round(c * len(types))]].mean()) for c in COVERAGES),
    )


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Quality of the groups that `group_alike` makes of N defects.

    Attributes:
        defects: number of defects. groups: number of groups.
        purity: share of the defects whose type is the most frequent one of their group, which is
            the accuracy of naming each group at once.
        commonest: share of the most frequent type, the purity of a single group.
        v_measure: V-measure of groups and types (Rosenberg and Hirschberg 2007).
    """

    defects: int
    groups: int
    purity: float
    commonest: float
    v_measure: float


def group_figures(vectors: Float32, types: Sequence[str]) -> GroupFigures:
    """Group defects (N, D) of length 1 without their types, then compare with these."""
    groups = group_alike(vectors)
    counts = [
        Counter(kind for kind, found in zip(types, groups, strict=True) if found == group)
        for group in np.unique(groups)
    ]
    return GroupFigures(
        defects=len(types),
        groups=len(counts),
        purity=sum(max(count.values()) for count in counts) / len(types),
        commonest=max(Counter(types).values()) / len(types),
        v_measure=float(v_measure_score(types, groups)),
    )
