"""How well similarity search finds the same kind: leave one out over labelled images."""

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

Float32 = NDArray[np.float32]
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
        proposals: how well the type is proposed from what deviates; of that row alone.
    """

    category: str
    backbone: str
    queries: Literal["defective", "normal"]
    by: By
    figures: RetrievalFigures
    proposals: ProposalFigures | None = None


def retrieval_figures(
    embeddings: Float32, kinds: Sequence[str], only: str | None = None
) -> RetrievalFigures:
    """Rank all other images by cosine for each image of (N, D), N >= 2; ties go to the earlier.

    Args:
        only: query with the images of this kind alone.

    Raises:
        ValueError: no query has another image of its kind.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :-1]
    labels = np.asarray(kinds)
    same = labels[order] == labels[:, None]
    return ranking_figures(same[(labels == only) | (only is None)])


def ranking_figures(same: NDArray[np.bool_]) -> RetrievalFigures:
    """Of (Q, N): whether what the Nth place of a query's ranking holds is of the query's kind.

    Raises:
        ValueError: no query has another image of its kind.
    """
    same = same[same.any(axis=1)]
    if not len(same):
        raise ValueError("no query has another image of its kind")
    rank = np.arange(1, same.shape[1] + 1)
    relevant = same.sum(axis=1)
    precision = np.cumsum(same, axis=1) / rank
    discount = 1 / np.log2(rank + 1)
    best = np.cumsum(discount)[relevant - 1]
    return RetrievalFigures(
        queries=len(same),
        p_at_1=float(same[:, 0].mean()),
        p_at_5=float(same[:, :5].mean()),
        mean_ap=float(((precision * same).sum(axis=1) / relevant).mean()),
        ndcg=float(((same * discount).sum(axis=1) / best).mean()),
        chance=float((relevant / same.shape[1]).mean()),
    )


def run_retrieval(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[RetrievalRow]:
    """Leave one out over the images of each data set with each backbone.

    The memory bank is a coreset of all normal training images. A data set without normal images
    (a folder per defect type) is searched by whole image only. By region the query is the box
    around a defective image's mask, and the library what `build_index` makes of the data set, so
    some normal images are held out of its bank; a data set without masks is not searched so.

    Raises:
        DatasetError: a data set has no two images of one defect type, or an unreadable image.
    """
    settings = settings or BenchmarkSettings()
    rows: list[RetrievalRow] = []
    for name in backbones:
        for dataset in datasets:
            records = read_dataset(dataset, need_normal=False)
            category = dataset.resolve().stem
            kinds = [record.defect_type or NORMAL for record in records]
            defective = [i for i, kind in enumerate(kinds) if kind != NORMAL]
            types = [kinds[i] for i in defective]
            if len(set(types)) == len(types):
                raise DatasetError(f"{dataset} has no two images of one defect type.")
            backbone = settings.load(name, weights, records)
            progress = named_stages(on_progress, f"{category}, {name}")
            whole, defect = _embeddings(
                records, backbone, settings.coreset, settings.seed, progress
            )
            found = retrieval_figures(whole[defective], types)
            rows.append(RetrievalRow(category, name, "defective", "whole", found))
            if defect is not None:
                found = retrieval_figures(defect[defective], types)
                proposals = proposal_figures(defect[defective], types)
                rows.append(RetrievalRow(category, name, "defective", "defect", found, proposals))
                if any(record.mask for record in records):
                    found = _region_figures(records, category, backbone, settings, progress)
                    rows.append(RetrievalRow(category, name, "defective", "region", found))
                found = retrieval_figures(whole, kinds, only=NORMAL)
                rows.append(RetrievalRow(category, name, "normal", "whole", found))
    return rows


def retrieval_table(rows: Sequence[RetrievalRow]) -> str:
    """The rows as Markdown, and below them those of the proposals where there are any."""
    heads = ["data set", "backbone", "queries", "by", "n", "chance", "P@1", "P@5", "mAP", "nDCG"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        f = row.figures
        texts = [f"{v:.3f}" for v in (f.chance, f.p_at_1, f.p_at_5, f.mean_ap, f.ndcg)]
        lines.append([row.category, row.backbone, row.queries, row.by, str(f.queries), *texts])
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
    category: str,
    backbone: Backbone,
    settings: BenchmarkSettings,
    on_progress: Progress,
) -> RetrievalFigures:
    """Each masked defect asked of the other defective images of a library in a throw-away store."""
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
            same.append([hit.defect_type == record.defect_type for hit in hits])
            on_progress("regions", done, len(queries))
    return ranking_figures(np.array(same))


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
