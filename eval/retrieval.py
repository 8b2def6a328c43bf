"""How well similarity search finds the same kind: leave one part out over labelled images.

Asked is the library that `build_index` makes of a data set, as `Inspector.similar` asks it. What is
found of the query's own part does not count, see `eval.parts`.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.images import load_image
from backbones.pipeline import ImageFeatures, embed_files
from backbones.preprocess import Box
from eval.benchmark import BenchmarkSettings, named_stages, read_mask
from eval.parts import parts_of
from eval.proposals import ProposalFigures, proposal_figures, proposals_table
from eval.ranking import RetrievalFigures, ranking_figures, retrieval_figures
from indexer.build import Progress, build_index
from indexer.dataset import DatasetError, ImageRecord, read_dataset
from indexer.schema import (
    DEFECT,
    WHOLE,
    LibraryImage,
    images_collection,
    library_image,
    read_images,
    visible,
)
from indexer.store import open_store, read_matrix
from search.calibration import ConformalCalibrator
from search.inspector import Inspector
from search.knn import ExactIndex
from search.library import By, conditions, neighbors
from search.scoring import image_score, patch_distances

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Label = Literal["normal", "defective"]
LABELS: tuple[Label, ...] = ("normal", "defective")


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """Figures of one way to search.

    Attributes:
        finds: ``type``: the same defect type among the defective images; ``label``: normal images
            or defective ones, as the query is, among all.
        by: as of `Inspector.similar`; ``look``: by the embedding of the whole alone.
        parts: shown by the images searched; fewer than there are images where one part was
            photographed several times.
        proposals: how well the type is proposed from what deviates; of that row alone.
    """

    category: str
    backbone: str
    queries: Label
    finds: Literal["type", "label"]
    by: By | Literal["look"]
    parts: int
    figures: RetrievalFigures
    proposals: ProposalFigures | None = None


def run_retrieval(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[RetrievalRow]:
    """Leave one part out over the images of each data set with each backbone.

    A data set without normal images (a folder per defect type) is searched by whole image only. By
    region the query is the box around a defective image's mask; an image without a mask that marks
    something is not asked so.

    Raises:
        DatasetError: a data set has no two parts with one defect type, or an unreadable image.
    """
    settings = settings or BenchmarkSettings()
    rows: list[RetrievalRow] = []
    for name in backbones:
        for dataset in datasets:
            records = read_dataset(dataset, need_normal=False)
            _check_types(dataset, records)
            category = dataset.resolve().stem
            backbone = settings.load(name, weights, records)
            progress = named_stages(on_progress, f"{category}, {name}")
            if any(record.split == "train" for record in records):
                rows += _rows_of_library(records, category, backbone, settings, progress)
            else:
                rows.append(_row_of_folder(records, category, backbone, progress))
    return rows


def retrieval_table(rows: Sequence[RetrievalRow]) -> str:
    """The rows as Markdown, and below them those of the proposals where there are any."""
    heads = ["data set", "backbone", "queries", "finds", "by", "n", "parts"]
    heads += ["chance", "P@1", "P@5", "mAP", "nDCG"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        f = row.figures
        names = [row.category, row.backbone, row.queries, row.finds, row.by]
        texts = [f"{v:.3f}" for v in (f.chance, f.p_at_1, f.p_at_5, f.mean_ap, f.ndcg)]
        lines.append([*names, str(f.queries), str(row.parts), *texts])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    proposed = [(row.category, row.backbone, row.proposals) for row in rows if row.proposals]
    return table + (f"\n\n{proposals_table(proposed)}" if proposed else "")


def _check_types(dataset: Path, records: Sequence[ImageRecord]) -> None:
    parts = parts_of([record.path for record in records]).tolist()
    named = {(r.defect_type, p) for r, p in zip(records, parts, strict=True) if r.defect_type}
    if len(named) == len({kind for kind, _ in named}):
        raise DatasetError(f"{dataset} has no two images of one defect type, of different parts.")


def _row_of_folder(
    records: Sequence[ImageRecord], category: str, backbone: Backbone, on_progress: Progress
) -> RetrievalRow:
    """By whole image over defective images alone."""
    embeddings = []
    for done, found in enumerate(embed_files(backbone, [record.path for record in records]), 1):
        if not isinstance(found, ImageFeatures):
            raise DatasetError(f"{found.path}: {found.reason}")
        embeddings.append(found.image)
        on_progress("images", done, len(records))
    parts = parts_of([record.path for record in records])
    types = [record.defect_type for record in records]
    figures = retrieval_figures(np.stack(embeddings), types, parts)
    name, count = backbone.spec.name, len(set(parts.tolist()))
    return RetrievalRow(category, name, "defective", "type", "whole", count, figures)


def _rows_of_library(
    records: Sequence[ImageRecord],
    category: str,
    backbone: Backbone,
    settings: BenchmarkSettings,
    on_progress: Progress,
) -> list[RetrievalRow]:
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
        build = build_index(
            records,
            category=category,
            backbone=backbone,
            store=store,
            calibrator=ConformalCalibrator(settings.alpha_reject, settings.alpha_review),
            coreset=settings.coreset,
            holdout=settings.holdout,
            seed=settings.seed,
            on_progress=on_progress,
        )
        for skipped in build.skipped:
            raise DatasetError(f"{skipped.path}: {skipped.reason}")
        library = _Library(Inspector(store, category, network=backbone))
        rows = [library.by_type("whole")]
        if backbone.spec.level == "patch":
            rows.append(library.by_type("defect"))
            once = [r for r in records if str(r.path.resolve()) in library.parts]
            if boxes := [(r, box) for r in once if (box := mask_box(r))]:
                rows.append(library.by_region(boxes, on_progress))
            rows += library.by_label(on_progress)
    return rows


class _Library:
    """A freshly learnt category: its images by id, and the part that the image at a path shows."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self.images = read_images(inspector.store, inspector.entry)
        paths = [image.path for image in self.images.values()]
        self.parts = dict(zip(paths, parts_of([Path(p) for p in paths]).tolist(), strict=True))

    def row(
        self,
        queries: Label,
        finds: Literal["type", "label"],
        by: By | Literal["look"],
        figures: RetrievalFigures,
        proposals: ProposalFigures | None = None,
    ) -> RetrievalRow:
        searched = [i for i in self.images.values() if finds == "label" or i.label == "defective"]
        parts = len({self.parts[image.path] for image in searched})
        entry = self.inspector.entry
        return RetrievalRow(
            entry.category, entry.backbone, queries, finds, by, parts, figures, proposals
        )

    def by_type(self, by: Literal["whole", "defect"]) -> RetrievalRow:
        """Each defective image asked of those of other parts, by the vectors that are kept."""
        entry = self.inspector.entry
        _, vectors, payloads = read_matrix(
            self.inspector.store,
            images_collection(entry.category, entry.backbone),
            WHOLE if by == "whole" else DEFECT,
            where={**visible(entry), "label": "defective"},
        )
        images = [library_image(payload) for payload in payloads]
        types = [image.defect_type for image in images]
        parts = np.array([self.parts[image.path] for image in images])
        proposals = None
        if by == "defect" and min(int((parts != part).sum()) for part in parts) >= 2:
            proposals = proposal_figures(vectors, types, parts)
        figures = retrieval_figures(vectors, types, parts)
        return self.row("defective", "type", by, figures, proposals)

    def by_region(
        self, boxes: Sequence[tuple[ImageRecord, Box]], on_progress: Progress
    ) -> RetrievalRow:
        """Each defect, by the box around its mask, asked of the defective images of other parts."""
        rankings = []
        for done, (record, box) in enumerate(boxes, 1):
            hits = self.inspector.similar(
                record.path,
                by="region",
                box=box,
                label="defective",
                top=len(self.images),
            )
            own = self.parts[str(record.path.resolve())]
            others = [hit for hit in hits if self.parts[hit.path] != own]
            rankings.append(np.array([hit.defect_type == record.defect_type for hit in others]))
            on_progress("regions", done, len(boxes))
        return self.row("defective", "type", "region", ranking_figures(rankings))

    def by_label(self, on_progress: Progress) -> list[RetrievalRow]:
        """Each image outside the bank asked of those of other parts.

        Its score is that of a new image: the bank is without its part, and the bank's own images
        are not asked, for they were there when its patches were chosen.
        """
        inspector, bank = self.inspector, self.inspector.bank
        owners = np.array([self.parts[self.images[str(i)].path] for i in bank.image_ids])
        asked = sorted(
            (image for image in self.images.values() if image.split != "bank"),
            key=lambda image: self.parts[image.path],
        )
        rankings: dict[tuple[str, str], list[Bool]] = {}
        done = 0
        for part, group in itertools.groupby(asked, lambda image: self.parts[image.path]):
            images, others = list(group), owners != part
            if not others.any():  # nothing normal is left to score them by
                continue
            index = inspector.index if others.all() else ExactIndex(bank.vectors[others])
            found = inspector.features([Path(image.path) for image in images])
            for image, features in zip(images, found, strict=True):
                assert isinstance(features, ImageFeatures)
                score = image_score(patch_distances(features.patches, index).distances)
                for by, known in (("look", None), ("whole", score)):
                    same = self._ranking(image, features.image, known)
                    rankings.setdefault((image.label, by), []).append(same)
                done += 1
                on_progress("whole images", done, len(asked))
        return [
            self.row(label, "label", by, ranking_figures(rankings[label, by]))
            for label in LABELS
            for by in ("look", "whole")
            if (label, by) in rankings
        ]

    def _ranking(self, image: LibraryImage, embedding: Float32, score: float | None) -> Bool:
        """Whether each image of another part, nearest first, has the label of the query."""
        hits = neighbors(
            self.inspector.store,
            self.inspector.entry,
            embedding,
            by="whole",
            top=len(self.images),
            where=conditions(without=image.sha256, where={}),
            score=score,
        )
        own = self.parts[image.path]
        return np.array([h.label == image.label for h in hits if self.parts[h.path] != own])


def mask_box(record: ImageRecord) -> Box | None:
    """The box around all that a record's mask marks; None without a mask or if it marks nothing."""
    if record.mask is None:
        return None
    image = load_image(record.path)
    rows, cols = np.nonzero(read_mask(record, image.width, image.height))
    if not len(rows):
        return None
    top, left = int(rows.min()), int(cols.min())
    return Box(left, top, int(cols.max()) + 1 - left, int(rows.max()) + 1 - top)
