"""Searches a newly learnt library for each of its images, which is left out in turn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from backbones.geometry import Box
from backbones.pipeline import ImageFeatures
from eval.arrays import Bool, Float32
from eval.baselines.defect_embeddings import baseline_likenesses
from eval.benchmark.product_parts import (
    LeftOut,
    left_out_together,
    product_parts,
    ways_to_leave_out,
)
from eval.metrics.defect_types import (
    COVERAGES,
    GroupFigures,
    ProposalFigures,
    group_figures,
    proposal_figures,
)
from eval.metrics.retrieval import RetrievalFigures, cosines, ranking_figures, retrieval_figures
from eval.pages import page
from indexer.catalog.collections import read_images, read_vectors
from indexer.catalog.entry import LibraryImage
from indexer.catalog.schema import DEFECT, WHOLE
from indexer.data.image_records import ImageRecord
from indexer.knn.exact_index import ExactIndex
from indexer.progress import Progress
from indexer.scoring.open_scorer import open_scorer
from search.inspector import Inspector
from search.retrieval.neighbors import Neighbor, conditions, neighbors

Label = Literal["normal", "defective"]


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """Figures of one way to search.

    Attributes:
        finds: ``type``: images with the query's defect type among the defective ones; ``label``:
            images with the query's label, normal or defective, among all.
        by: as in `Inspector.similar`; ``look``: only by the embedding of the whole image; or a
            baseline of ``defect``, see `baseline_likenesses`.
        left_out: ``image``: the query only; ``part``: all images of its product part.
        parts: number of product parts that the searched images show; smaller than the number of
            images if parts were photographed several times.
        proposals: quality of the types proposed from defect embeddings; only in one row of
            ``defect``.
        groups: quality of groups of the compared vectors; once each for ``whole`` and ``defect``.
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
    """The rows as Markdown, followed by proposals and groups if there are any."""
    return page("retrieval.md", rows=rows, coverages=COVERAGES).rstrip()


class LearntLibrary:
    """A newly learnt category: its images by id, and the product part that each path shows."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self.images = read_images(inspector.category)
        paths = [image.path for image in self.images.values()]
        parts = product_parts([Path(path) for path in paths])
        self.product_parts: dict[str, int] = dict(zip(paths, parts.tolist(), strict=True))
        self.left_out = ways_to_leave_out(parts)

    def row(
        self,
        queries: Label,
        finds: Literal["type", "label"],
        by: str,
        left_out: LeftOut,
        figures: RetrievalFigures,
    ) -> RetrievalRow:
        """Figures of one way to search, with a description of the search."""
        searched = [i for i in self.images.values() if finds == "label" or i.label == "defective"]
        parts = len({self.product_parts[image.path] for image in searched})
        entry = self.inspector.entry
        return RetrievalRow(
            entry.category, entry.backbone, queries, finds, by, left_out, parts, figures
        )

    def others(self, hits: Sequence[Neighbor], own: str, left_out: LeftOut) -> list[Neighbor]:
        """The search results that count for a query from the file ``own``."""
        if left_out == "image":
            return [hit for hit in hits if hit.path != own]
        return [hit for hit in hits if self.product_parts[hit.path] != self.product_parts[own]]

    def by_type(self, *, baselines: bool) -> list[RetrievalRow]:
        """Search for the type of each defective image, by stored vectors and by baselines."""
        ways: dict[str, tuple[Float32, list[LibraryImage]]] = {}
        groups = {}
        for by in (WHOLE, DEFECT) if baselines else (WHOLE,):
            vectors, images = read_vectors(self.inspector.category, by, {"label": "defective"})
            ways[by] = cosines(vectors), images
            groups[by] = group_figures(vectors, [image.defect_type for image in images])
        if baselines:
            paths = [Path(image.path) for image in images]
            for by, likeness in baseline_likenesses(self.inspector, paths).items():
                ways[by] = likeness, images
        rows = []
        for left_out in self.left_out:
            for by, (likeness, images) in ways.items():
                types = [image.defect_type for image in images]
                parts = np.array([self.product_parts[image.path] for image in images])
                alone = left_out_together(parts, left_out)
                figures = retrieval_figures(likeness, types, alone)
                row = self.row("defective", "type", by, left_out, figures)
                voters = min(int((alone != part).sum()) for part in alone)
                if by == DEFECT and left_out == self.left_out[-1] and voters >= 2:
                    row = replace(row, proposals=proposal_figures(vectors, types, alone))
                rows.append(replace(row, groups=groups.pop(by, None)))
        return rows

    def by_region(
        self, boxes: Sequence[tuple[ImageRecord, Box]], on_progress: Progress
    ) -> list[RetrievalRow]:
        """Search for the type of each defect among defective images, by the box around its mask."""
        rankings: dict[LeftOut, list[Bool]] = {left_out: [] for left_out in self.left_out}
        for done, (record, box) in enumerate(boxes, 1):
            hits = self.inspector.similar(
                record.path, by="region", box=box, label="defective", top=len(self.images)
            )
            for left_out, found in rankings.items():
                others = self.others(hits, str(record.path.resolve()), left_out)
                found.append(np.array([hit.defect_type == record.defect_type for hit in others]))
            on_progress("regions", done, len(boxes))
        return [
            self.row("defective", "type", "region", left_out, ranking_figures(found))
            for left_out, found in rankings.items()
        ]

    def by_label(self, on_progress: Progress) -> list[RetrievalRow]:
        """Search for the label of each image outside the memory bank.

        The query is scored like a new image: the bank does not hold it, nor its product part if
        that is left out. The bank's own images are not used as queries, because its patches were
        chosen with them.
        """
        inspector, bank = self.inspector, self.inspector.bank
        aggregate = open_scorer(inspector.category).aggregate
        owners = np.array([self.product_parts[self.images[str(i)].path] for i in bank.image_ids])

        def part_of(image: LibraryImage) -> int:
            return self.product_parts[image.path]

        queries = sorted((i for i in self.images.values() if i.split != "bank"), key=part_of)
        rankings: dict[tuple[str, str, LeftOut], list[Bool]] = {}
        done = 0
        for part, showing in itertools.groupby(queries, part_of):
            images, others = list(showing), owners != part
            without_part = None
            if "part" in self.left_out and others.any():
                without_part = ExactIndex(bank.vectors[others])
            found = inspector.embed([Path(image.path) for image in images])
            for image, features in zip(images, found, strict=True):
                assert isinstance(features, ImageFeatures)
                scores: dict[LeftOut, float | None] = {"image": image.score}
                if without_part:
                    scores["part"] = aggregate(without_part.search(features.patches).distances)
                for left_out, score in scores.items():
                    for by, used in (("look", None), ("whole", score)):
                        same = self._ranking(image, features.image, used, left_out)
                        rankings.setdefault((image.label, by, left_out), []).append(same)
                done += 1
                on_progress("whole images", done, len(queries))
        return [
            self.row(label, "label", by, left_out, ranking_figures(rankings[label, by, left_out]))
            for left_out in self.left_out
            for label in get_args(Label)
            for by in ("look", "whole")
            if (label, by, left_out) in rankings
        ]

    def _ranking(
        self, image: LibraryImage, embedding: Float32, score: float | None, left_out: LeftOut
    ) -> Bool:
        """For each image that is not left out, nearest first, true if it has the query's label."""
        hits = neighbors(
            self.inspector.category,
            embedding,
            by="whole",
            top=len(self.images),
            where=conditions(without=image.sha256, where={}),
            score=score,
        )
        others = self.others(hits, image.path, left_out)
        return np.array([hit.label == image.label for hit in others])
