"""How well similarity search finds the same kind: leave one out over labelled images.

Asked is the library that `build_index` makes of a data set, as `Inspector.similar` asks it. Left
out is the query alone; where several images show one part (`eval.benchmark.product_parts`) also, in
rows of their own, all that show the query's.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.decode import load_image
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, embed_files
from eval.baselines.by_embedding.defect_embeddings import rival_likenesses
from eval.benchmark.product_parts import parts_of
from eval.benchmark.retrieval_report import Label, LeftOut, RetrievalRow
from eval.benchmark.run import BenchmarkSettings, named_stages, read_mask
from eval.metrics.clustering import group_figures
from eval.metrics.retrieval import RetrievalFigures, cosines, ranking_figures, retrieval_figures
from eval.metrics.selective import proposal_figures
from indexer.catalog.collections import read_images
from indexer.catalog.schema import (
    DEFECT,
    WHOLE,
    LibraryImage,
    images_collection,
    library_image,
    visible,
)
from indexer.data.image_records import DatasetError, ImageRecord, read_dataset
from indexer.knn.exact_index import ExactIndex
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.scoring.distances import image_score, patch_distances
from indexer.store.base import read_matrix
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector
from search.retrieval.neighbors import Neighbor, conditions, neighbors

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
LABELS: tuple[Label, ...] = ("normal", "defective")


def run_retrieval(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[RetrievalRow]:
    """Leave one out over the images of each data set with each backbone.

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
                rows += _rows_of_folder(records, category, backbone, progress)
    return rows


def _check_types(dataset: Path, records: Sequence[ImageRecord]) -> None:
    parts = parts_of([record.path for record in records]).tolist()
    named = {(r.defect_type, p) for r, p in zip(records, parts, strict=True) if r.defect_type}
    if len(named) == len({kind for kind, _ in named}):
        raise DatasetError(f"{dataset} has no two images of one defect type, of different parts.")


def _rows_of_folder(
    records: Sequence[ImageRecord], category: str, backbone: Backbone, on_progress: Progress
) -> list[RetrievalRow]:
    """By whole image over defective images alone."""
    embeddings = []
    for done, found in enumerate(embed_files(backbone, [record.path for record in records]), 1):
        if not isinstance(found, ImageFeatures):
            raise DatasetError(f"{found.path}: {found.reason}")
        embeddings.append(found.image)
        on_progress("images", done, len(records))
    likeness, types = cosines(np.stack(embeddings)), [record.defect_type for record in records]
    parts, name = parts_of([record.path for record in records]), backbone.spec.name
    rows = []
    for left_out in _ways_to_leave_out(parts):
        alone = parts if left_out == "part" else np.arange(len(parts))
        figures = retrieval_figures(likeness, types, alone)
        count = len(np.unique(parts))
        rows.append(
            RetrievalRow(category, name, "defective", "type", "whole", left_out, count, figures)
        )
    return rows


def _ways_to_leave_out(parts: NDArray[np.int64]) -> tuple[LeftOut, ...]:
    """The image alone, and where several of (N,) show one part, also the part."""
    return ("image", "part") if len(np.unique(parts)) < len(parts) else ("image",)


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
        if backbone.spec.level == "image":
            return library.by_type(rivals=False)
        rows = library.by_type(rivals=True)
        once = [r for r in records if str(r.path.resolve()) in library.parts]
        if boxes := [(r, box) for r in once if (box := mask_box(r))]:
            rows += library.by_region(boxes, on_progress)
        return rows + library.by_label(on_progress)


class _Library:
    """A freshly learnt category: its images by id, and the part that the image at a path shows."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self.images = read_images(inspector.store, inspector.entry)
        paths = [image.path for image in self.images.values()]
        parts = parts_of([Path(path) for path in paths])
        self.parts = dict(zip(paths, parts.tolist(), strict=True))
        self.left_out = _ways_to_leave_out(parts)

    def row(
        self,
        queries: Label,
        finds: Literal["type", "label"],
        by: str,
        left_out: LeftOut,
        figures: RetrievalFigures,
    ) -> RetrievalRow:
        searched = [i for i in self.images.values() if finds == "label" or i.label == "defective"]
        parts = len({self.parts[image.path] for image in searched})
        entry = self.inspector.entry
        return RetrievalRow(
            entry.category, entry.backbone, queries, finds, by, left_out, parts, figures
        )

    def others(self, hits: Sequence[Neighbor], own: str, left_out: LeftOut) -> list[Neighbor]:
        """What counts of the hits for a query from the file ``own``."""
        if left_out == "image":
            return [hit for hit in hits if hit.path != own]
        return [hit for hit in hits if self.parts[hit.path] != self.parts[own]]

    def by_type(self, *, rivals: bool) -> list[RetrievalRow]:
        """Each defective image asked of the others by the vectors that are kept, and by rivals."""
        whole, images = self._kept(WHOLE)
        ways = {"whole": (cosines(whole), images)}
        groups = {"whole": group_figures(whole, [image.defect_type for image in images])}
        if rivals:
            deviates, images = self._kept(DEFECT)
            ways["defect"] = cosines(deviates), images
            groups["defect"] = group_figures(deviates, [image.defect_type for image in images])
            for by, likeness in rival_likenesses(
                self.inspector, [Path(image.path) for image in images]
            ).items():
                ways[by] = likeness, images
        rows = []
        for left_out in self.left_out:
            for by, (likeness, images) in ways.items():
                types = [image.defect_type for image in images]
                parts = np.array([self.parts[image.path] for image in images])
                alone = parts if left_out == "part" else np.arange(len(images))
                figures = retrieval_figures(likeness, types, alone)
                row = self.row("defective", "type", by, left_out, figures)
                if by == "defect" and left_out == self.left_out[-1] and _votes(alone):
                    row = replace(row, proposals=proposal_figures(deviates, types, alone))
                rows.append(replace(row, groups=groups.pop(by, None)))
        return rows

    def _kept(self, name: str) -> tuple[Float32, list[LibraryImage]]:
        entry = self.inspector.entry
        _, vectors, payloads = read_matrix(
            self.inspector.store,
            images_collection(entry.category, entry.backbone),
            name,
            where={**visible(entry), "label": "defective"},
        )
        return vectors, [library_image(payload) for payload in payloads]

    def by_region(
        self, boxes: Sequence[tuple[ImageRecord, Box]], on_progress: Progress
    ) -> list[RetrievalRow]:
        """Each defect, by the box around its mask, asked of the other defective images."""
        rankings: dict[LeftOut, list[Bool]] = {left_out: [] for left_out in self.left_out}
        for done, (record, box) in enumerate(boxes, 1):
            hits = self.inspector.similar(
                record.path,
                by="region",
                box=box,
                label="defective",
                top=len(self.images),
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
        """Each image outside the bank asked of the others.

        Its score is that of a new image: the bank is without it, and without its part where that
        is left out. The bank's own images are not asked, for they were there when its patches were
        chosen.
        """
        inspector, bank = self.inspector, self.inspector.bank
        owners = np.array([self.parts[self.images[str(i)].path] for i in bank.image_ids])
        asked = sorted(
            (image for image in self.images.values() if image.split != "bank"),
            key=lambda image: self.parts[image.path],
        )
        rankings: dict[tuple[str, str, LeftOut], list[Bool]] = {}
        done = 0
        for part, group in itertools.groupby(asked, lambda image: self.parts[image.path]):
            images, others = list(group), owners != part
            without_part = None
            if "part" in self.left_out and others.any():
                without_part = ExactIndex(bank.vectors[others])
            found = inspector.features([Path(image.path) for image in images])
            for image, features in zip(images, found, strict=True):
                assert isinstance(features, ImageFeatures)
                scores: dict[LeftOut, float | None] = {"image": image.score}
                if without_part:
                    distances = patch_distances(features.patches, without_part).distances
                    scores["part"] = image_score(distances)
                for left_out, score in scores.items():
                    for by, known in (("look", None), ("whole", score)):
                        same = self._ranking(image, features.image, known, left_out)
                        rankings.setdefault((image.label, by, left_out), []).append(same)
                done += 1
                on_progress("whole images", done, len(asked))
        return [
            self.row(label, "label", by, left_out, ranking_figures(rankings[label, by, left_out]))
            for left_out in self.left_out
            for label in LABELS
            for by in ("look", "whole")
            if (label, by, left_out) in rankings
        ]

    def _ranking(
        self, image: LibraryImage, embedding: Float32, score: float | None, left_out: LeftOut
    ) -> Bool:
        """Whether each image that is not left out, nearest first, has the label of the query."""
        hits = neighbors(
            self.inspector.store,
            self.inspector.entry,
            embedding,
            by="whole",
            top=len(self.images),
            where=conditions(without=image.sha256, where={}),
            score=score,
        )
        others = self.others(hits, image.path, left_out)
        return np.array([hit.label == image.label for hit in others])


def _votes(parts: NDArray[np.int64]) -> bool:
    """Whether at least two defects are left to vote, whichever of the parts is left out."""
    return min(int((parts != part).sum()) for part in parts) >= 2


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
