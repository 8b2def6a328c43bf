"""How well the groups of unnamed defects agree with the types they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import v_measure_score

from search.retrieval.clustering import group_alike

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """What `group_alike` made of N defects.

    Attributes:
        defects: N. groups: their number.
        purity: share of the defects whose group has their type as the commonest: what naming each
            group at once would name rightly.
        commonest: share of the most frequent type, the purity of a single group.
        v_measure: of groups and types (Rosenberg and Hirschberg 2007).
    """

    defects: int
    groups: int
    purity: float
    commonest: float
    v_measure: float


def group_figures(vectors: Float32, types: Sequence[str]) -> GroupFigures:
    """Group defects (N, D) of length 1 without telling their types, then compare."""
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


def groups_table(rows: Sequence[tuple[str, str, str, GroupFigures]]) -> str:
    """Data set, backbone, what was compared, and figures as Markdown."""
    heads = ["data set", "backbone", "by", "defects", "groups", "purity", "one group", "V-measure"]
    lines = [heads, ["---"] * len(heads)]
    for category, backbone, by, f in rows:
        shares = [f"{share:.3f}" for share in (f.purity, f.commonest, f.v_measure)]
        lines.append([category, backbone, by, str(f.defects), str(f.groups), *shares])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
