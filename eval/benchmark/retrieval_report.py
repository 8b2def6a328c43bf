"""What a measurement of similarity search came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eval.metrics.clustering import GroupFigures, groups_table
from eval.metrics.retrieval import RetrievalFigures
from eval.metrics.selective import ProposalFigures, proposals_table

Label = Literal["normal", "defective"]
LeftOut = Literal["image", "part"]


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """Figures of one way to search.

    Attributes:
        finds: ``type``: the same defect type among the defective images; ``label``: normal images
            or defective ones, as the query is, among all.
        by: as of `Inspector.similar`; ``look``: by the embedding of the whole alone; or a rival of
            ``defect``, see `rival_likenesses`.
        left_out: ``image``: the query; ``part``: all images of its part.
        parts: shown by the images searched; fewer than there are images where one part was
            photographed several times.
        proposals: how well the type is proposed from what deviates; of one row of ``defect`` alone.
        groups: how the vectors compared fall into groups; of ``whole`` and ``defect``, once each.
    """

    category: str
    backbone: str
    queries: Label
    finds: Literal["type", "label"]
    by: str
    left_out: LeftOut
    parts: int
    figures: RetrievalFigures
    proposals: ProposalFigures | None = None
    groups: GroupFigures | None = None


def retrieval_table(rows: Sequence[RetrievalRow]) -> str:
    """The rows as Markdown, and below them those of proposals and groups where there are any."""
    heads = ["data set", "backbone", "queries", "finds", "by", "left out", "n", "parts"]
    heads += ["chance", "P@1", "P@5", "mAP", "nDCG"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        f = row.figures
        names = [row.category, row.backbone, row.queries, row.finds, row.by, row.left_out]
        texts = [f"{v:.3f}" for v in (f.chance, f.p_at_1, f.p_at_5, f.mean_ap, f.ndcg)]
        lines.append([*names, str(f.queries), str(row.parts), *texts])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    proposed = [(row.category, row.backbone, row.proposals) for row in rows if row.proposals]
    grouped = [(row.category, row.backbone, row.by, row.groups) for row in rows if row.groups]
    parts = [table]
    parts += [proposals_table(proposed)] if proposed else []
    parts += [groups_table(grouped)] if grouped else []
    return "\n\n".join(parts)
