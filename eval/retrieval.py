"""How well similarity search finds the same kind: leave one part out over labelled images.

What is found of the query's own part does not count, see `eval.parts`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
from indexer.build import Progress, build_index
from indexer.coreset import greedy_k_center, project
from indexer.dataset import DatasetError, ImageRecord, read_dataset
from indexer.store import open_store
from search.calibration import ConformalCalibrator
from search.inspector import Inspector
from search.knn import ExactIndex
from search.library import By
from search.scoring import patch_distances
from search.similar import defect_embedding

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
NORMAL = ""


@dataclass(frozen=True, slots=True)
class RetrievalFigures:
    """Means over the queries that have another image of their kind.

    Attributes:
        queries: their number.
        p_at_1, p_at_5: share of the same kind among the first and the first five found.
        mean_ap: average precision over the whole ranking.
        ndcg: discounted gain of the ranking over that of the best one (gain 1 for the same kind).
        chance: share of the same kind in a random ranking, the level of ``p_at_1`` by guessing.
    """

    queries: int
    p_at_1: float
    p_at_5: float
    mean_ap: float
    ndcg: float
    chance: float


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """Figures of one way to search.

    Attributes:
        queries: ``defective``, to find the same defect type among the defective, or ``normal``,
            to find normal images among all.
        parts: shown by the images asked of; fewer than there are images where one part was
            photographed several times.
        proposals: how well the type is proposed from what deviates; of that row alone.
    """

    category: str
    backbone: str
    queries: Literal["defective", "normal"]
    by: By
    parts: int
    figures: RetrievalFigures
    proposals: ProposalFigures | None = None


def retrieval_figures(
    embeddings: Float32, kinds: Sequence[str], parts: Int64, only: str | None = None
) -> RetrievalFigures:
    """Rank the images of other parts by cosine for each image of (N, D); ties go to the earlier.

    Args:
        parts: (N,) number of the part that each image shows, see `eval.parts`.
        only: query with the images of this kind alone.

    Raises:
        DatasetError: no query has another image of its kind.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    order = np.argsort(-(unit @ unit.T), axis=1, kind="stable")
    labels = np.asarray(kinds)
    others = [row[parts[row] != part] for row, part in zip(order, parts, strict=True)]
    return ranking_figures(
        [
            labels[ranking] == kind
            for ranking, kind in zip(others, labels, strict=True)
            if only in (None, kind)
        ]
    )


def ranking_figures(rankings: Sequence[Bool]) -> RetrievalFigures:
    """Of one ranking (N,) a query: whether what stands at each place is of the query's kind.

    Raises:
        DatasetError: no query has another image of its kind.
    """
    figures = np.array([_figures_of_one(same) for same in rankings if same.any()])
    if not len(figures):
        raise DatasetError(
            "no query has another image of its kind: expected two or more, of different parts."
        )
    return RetrievalFigures(len(figures), *figures.mean(axis=0).tolist())


def _figures_of_one(same: Bool) -> tuple[float, float, float, float, float]:
    """P@1, P@5, average precision, nDCG and chance of a ranking (N,) that holds one of its kind."""
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


def run_retrieval(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[RetrievalRow]:
    """Leave one part out over the images of each data set with each backbone.

    The memory bank is a coreset of all normal training images. A data set without normal images
    (a folder per defect type) is searched by whole image only. By region the query is the box
    around a defective image's mask, and the library what `build_index` makes of the data set, so
    some normal images are held out of its bank; a data set without masks is not searched so.

    Raises:
        DatasetError: a data set has no two parts with one defect type, or an unreadable image.
    """
    settings = settings or BenchmarkSettings()
    rows: list[RetrievalRow] = []
    for name in backbones:
        for dataset in datasets:
            records = read_dataset(dataset, need_normal=False)
            category = dataset.resolve().stem
            parts = parts_of([record.path for record in records])
            kinds = [record.defect_type or NORMAL for record in records]
            defective = [i for i, kind in enumerate(kinds) if kind != NORMAL]
            types, own = [kinds[i] for i in defective], parts[defective]
            if len({*zip(types, own.tolist(), strict=True)}) == len(set(types)):
                raise DatasetError(f"{dataset} has no two images of one defect type.")
            backbone = settings.load(name, weights, records)
            progress = named_stages(on_progress, f"{category}, {name}")
            whole, defect = _embeddings(
                records, backbone, settings.coreset, settings.seed, progress
            )

            found = retrieval_figures(whole[defective], types, own)
            count = len(set(own.tolist()))
            rows.append(RetrievalRow(category, name, "defective", "whole", count, found))
            if defect is not None:
                found = retrieval_figures(defect[defective], types, own)
                proposals = proposal_figures(defect[defective], types, own)
                row = RetrievalRow(category, name, "defective", "defect", count, found, proposals)
                rows.append(row)
                if any(record.mask for record in records):
                    found = _region_figures(records, parts, category, backbone, settings, progress)
                    rows.append(RetrievalRow(category, name, "defective", "region", count, found))
                found = retrieval_figures(whole, kinds, parts, only=NORMAL)
                count = len(set(parts.tolist()))
                rows.append(RetrievalRow(category, name, "normal", "whole", count, found))
    return rows


def retrieval_table(rows: Sequence[RetrievalRow]) -> str:
    """The rows as Markdown, and below them those of the proposals where there are any."""
    heads = [
        "data set",
        "backbone",
        "queries",
        "by",
        "n",
        "parts",
        "chance",
        "P@1",
        "P@5",
        "mAP",
        "nDCG",
    ]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        f = row.figures
        texts = [f"{v:.3f}" for v in (f.chance, f.p_at_1, f.p_at_5, f.mean_ap, f.ndcg)]
        lines.append(
            [
                row.category,
                row.backbone,
                row.queries,
                row.by,
                str(f.queries),
                str(row.parts),
                *texts,
            ]
        )
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    proposed = [(row.category, row.backbone, row.proposals) for row in rows if row.proposals]
    return table + (f"\n\n{proposals_table(proposed)}" if proposed else "")


def _embeddings(
    records: Sequence[ImageRecord],
    backbone: Backbone,
    coreset: float,
    seed: int,
    on_progress: Progress,
) -> tuple[Float32, Float32 | None]:
    """Whole-image embeddings (N, D), and by defect where there are normal training images."""
    train = [i for i, record in enumerate(records) if record.split == "train"]
    tests = [i for i, record in enumerate(records) if record.split == "test"]
    whole = np.zeros((len(records), backbone.spec.dim), np.float32)
    normal: list[Float32] = []
    for done, (i, features) in enumerate(_features(records, train, backbone), 1):
        normal.append(features.patches.reshape(-1, features.patches.shape[-1]))
        whole[i] = features.image
        on_progress("normal images", done, len(train))
    defect: Float32 | None = None
    if normal and backbone.spec.level == "patch":
        patches = np.concatenate(normal)
        size = max(1, round(coreset * len(patches)))
        picks = greedy_k_center(project(patches, seed), size, seed=seed).indices
        bank = patches[picks]
        index = ExactIndex(bank)
        defect = np.zeros_like(whole)
    for done, (i, features) in enumerate(_features(records, tests, backbone), 1):
        whole[i] = features.image
        if defect is not None:
            found = patch_distances(features.patches, index)
            nearest = bank[found.bank_indices]
            defect[i] = defect_embedding(features.patches, nearest, found.distances)
        on_progress("test images", done, len(tests))
    return whole, defect


def _region_figures(
    records: Sequence[ImageRecord],
    parts: Int64,
    category: str,
    backbone: Backbone,
    settings: BenchmarkSettings,
    on_progress: Progress,
) -> RetrievalFigures:
    """Each masked defect asked of the defective images of other parts, in a throw-away store."""
    part_of = {str(r.path.resolve()): int(p) for r, p in zip(records, parts, strict=True)}
    queries = [record for record in records if record.label == "defective" and record.mask]
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
        build_index(
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
        inspector = Inspector(store, category, network=backbone)
        same = []
        for done, record in enumerate(queries, 1):
            hits = inspector.similar(
                record.path,
                by="region",
                box=mask_box(record),
                label="defective",
                top=len(records),
            )
            own = part_of[str(record.path.resolve())]
            others = [hit for hit in hits if part_of[hit.path] != own]
            same.append(np.array([hit.defect_type == record.defect_type for hit in others]))
            on_progress("regions", done, len(queries))
    return ranking_figures(same)


def mask_box(record: ImageRecord) -> Box:
    """The box around all that a record's mask marks; DatasetError if that is nothing."""
    image = load_image(record.path)
    rows, cols = np.nonzero(read_mask(record, image.width, image.height))
    if not len(rows):
        raise DatasetError(f"{record.mask}: expected a mask that marks a defect, it marks nothing.")
    top, left = int(rows.min()), int(cols.min())
    return Box(left, top, int(cols.max()) + 1 - left, int(rows.max()) + 1 - top)


def _features(
    records: Sequence[ImageRecord], chosen: Sequence[int], backbone: Backbone
) -> Iterator[tuple[int, ImageFeatures]]:
    outcomes = embed_files(backbone, [records[i].path for i in chosen])
    for i, outcome in zip(chosen, outcomes, strict=True):
        if not isinstance(outcome, ImageFeatures):
            raise DatasetError(f"{outcome.path}: {outcome.reason}")
        yield i, outcome
