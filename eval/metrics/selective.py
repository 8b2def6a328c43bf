"""How well a defect's type is proposed: each defect asked of those of other parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.schema import LibraryImage
from search.retrieval.type_proposal import UNKNOWN, TypeProposer

Float32 = NDArray[np.float32]

COVERAGES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class ProposalFigures:
    """What the proposals of N defects came to.

    Attributes:
        defects: N.
        unknown: share answered ``unknown``.
        accuracy: share named rightly among those not answered ``unknown``; nan if all were.
        commonest: share of the most frequent type, the accuracy of always naming it.
        risks: share named wrongly among the most confident `COVERAGES` of all defects, with
            ``nearest_type`` as the answer: the risk-coverage curve (El-Yaniv and Wiener 2010).
    """

    defects: int
    unknown: float
    accuracy: float
    commonest: float
    risks: tuple[float, ...]


def proposal_figures(
    vectors: Float32, types: Sequence[str], parts: NDArray[np.int64]
) -> ProposalFigures:
    """Leave one part out over what deviates (N, D) in defects of these types and ``parts`` (N,).

    Everything a proposal rests on is measured anew without the part it is for, of which at least
    two defects must be left.
    """
    images = [
        LibraryImage(str(i), "", "", "defective", kind, "test", 1, 1, None)
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


def proposals_table(rows: Sequence[tuple[str, str, ProposalFigures]]) -> str:
    """Data set, backbone and figures as Markdown."""
    heads = ["data set", "backbone", "defects", "unknown", "right of the rest", "commonest type"]
    heads += [f"wrong of the surest {coverage:.0%}" for coverage in COVERAGES]
    lines = [heads, ["---"] * len(heads)]
    for category, backbone, f in rows:
        shares = (f.unknown, f.accuracy, f.commonest, *f.risks)
        lines.append([category, backbone, str(f.defects), *(f"{share:.3f}" for share in shares)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
