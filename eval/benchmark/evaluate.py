"""Scores the test images of a newly learnt category and summarises the results."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from backbones.base import Backbone
from backbones.errors import ImageError
from backbones.pipeline import Skipped
from eval.arrays import Bool
from eval.baselines.table import Baseline, find_baseline
from eval.benchmark.results import CategoryReport, CategoryRun, HeatmapRef, ImageResult, summarise
from eval.metrics.detection import image_auroc
from eval.metrics.pixels import PixelMetrics
from indexer.bank.feature_space import in_space
from indexer.data.image_records import DatasetError, ImageRecord, normal_images
from indexer.learn.build import BuildReport
from indexer.progress import Progress
from indexer.store.base import VectorStore
from search.inspector import Inspector
from search.prediction import Prediction

PICTURES_OF_A_KIND = 3


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A report, and the files that could not be used for it."""

    report: CategoryReport
    skipped: tuple[Skipped, ...]


def evaluate(
    store: VectorStore,
    build: BuildReport,
    backbone: Backbone,
    records: Sequence[ImageRecord],
    *,
    dataset: str,
    out: Path,
    baselines: Sequence[str] = (),
    on_progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Score the test records of a newly learnt category and summarise the results.

    Pictures of the worst normal, best and missed defective images are written to ``out``/pictures.
    Milliseconds are measured from file to verdict, one image at a time, after a warm-up.
    ``baselines`` are names from `BASELINES` that score the same images; they need a patch-level
    backbone. DatasetError is raised if no test image can be read.
    """
    entry = build.entry
    inspector = Inspector(store, entry.category, backbone=entry.backbone, network=backbone)
    tests = [record for record in records if record.split == "test"]
    if not tests:
        raise DatasetError(f"{dataset} has no test images: nothing to evaluate.")
    scored, skipped = _score(inspector, tests, on_progress)
    if not scored:
        raise DatasetError(f"no test image of {dataset} can be read; {skipped[0].reason}")
    patches = entry.spec.level == "patch"
    baseline = None
    if baselines and patches:
        network, normal = in_space(backbone, entry.feature_space), normal_images(records)
        baseline = {
            listed.title: _baseline_auroc(
                listed.kind.fit(network, normal), scored, name, on_progress
            )
            for name, listed in zip(baselines, map(find_baseline, baselines), strict=True)
        }
    run = CategoryRun(
        category=entry.category,
        backbone=entry.backbone,
        dataset=dataset,
        n_train=entry.counts["bank_images"],
        bank_size=entry.counts["bank_patches"],
        coreset=entry.settings["coreset"],
        holdout=entry.settings["holdout"],
        seed=int(entry.settings["seed"]),
        alpha_reject=inspector.calibration.alpha_reject,
        alpha_review=inspector.calibration.alpha_review,
        threshold=inspector.calibration.threshold,
        index_seconds=sum(build.seconds.values()) if build.changed else math.nan,
        calibration_scores=inspector.calibration.scores,
        fingerprint=entry.fingerprint,
        versions=entry.versions,
        heatmaps=tuple(_pictures(inspector, scored, out)),
        baseline=baseline,
    )
    images = [result for _, _, result in scored]
    pixels = _pixel_metrics(scored) if patches else None
    return Evaluation(summarise(run, images, pixels), tuple(skipped))


_Scored = tuple[ImageRecord, Prediction, ImageResult]


def _score(
    inspector: Inspector, records: Sequence[ImageRecord], on_progress: Progress
) -> tuple[list[_Scored], list[Skipped]]:
    scored: list[_Scored] = []
    skipped: list[Skipped] = []
    for done, record in enumerate(records, 1):
        if not scored:  # the first image loads the bank and warms up the network
            next(inspector.inspect_files([record.path]))
        began = time.perf_counter()
        outcome = next(inspector.inspect_files([record.path]))
        milliseconds = (time.perf_counter() - began) * 1e3
        on_progress("scoring", done, len(records))
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
            continue
        image = str(record.path), record.label, record.defect_type
        decision = outcome.score, outcome.p_value, outcome.verdict
        result = ImageResult(*image, *decision, milliseconds)
        scored.append((record, outcome, result))
    return scored, skipped


def _pixel_metrics(scored: Sequence[_Scored]) -> PixelMetrics | None:
    """Pixel metrics of normal images and of defective ones with a mask; None without any mask."""
    if not any(record.mask for record, _, _ in scored):
        return None
    metrics = PixelMetrics()
    for record, prediction, _ in scored:
        if record.mask or record.label == "normal":
            mask = read_mask(record, prediction.width, prediction.height)
            metrics.update(prediction.anomaly_map(), mask)
    return metrics


def read_mask(record: ImageRecord, width: int, height: int) -> Bool:
    """(height, width) true where the record's mask marks a defect; nowhere without a mask."""
    if record.mask is None:
        return np.zeros((height, width), dtype=np.bool_)
    try:
        with Image.open(record.mask) as file:
            mask = file.convert("L").resize((width, height), Image.Resampling.NEAREST)
    except OSError as error:
        raise ImageError(f"{record.mask}: the mask cannot be read: {error}") from error
    return np.asarray(mask) > 127


def _pictures(inspector: Inspector, scored: Sequence[_Scored], out: Path) -> Iterable[HeatmapRef]:
    ascending = sorted(scored, key=lambda item: item[1].score)
    defects = [item for item in ascending if item[0].label == "defective"]
    chosen = {
        "worst normal": [item for item in reversed(ascending) if item[0].label == "normal"],
        "best defect": list(reversed(defects)),
        "missed defect": [item for item in defects if item[1].verdict != "reject"],
    }
    folder = Path("pictures") / f"{inspector.entry.category}--{inspector.entry.backbone}"
    (out / folder).mkdir(parents=True, exist_ok=True)
    for kind, items in chosen.items():
        for rank, (record, prediction, _) in enumerate(items[:PICTURES_OF_A_KIND], 1):
            picture = folder / f"{kind.replace(' ', '-')}-{rank}.jpg"
            prediction.explain().save(out / picture, quality=88)
            image = str(record.path), record.label, record.defect_type
            yield HeatmapRef(*image, prediction.score, picture.as_posix(), kind)


def _baseline_auroc(
    baseline: Baseline, scored: Sequence[_Scored], name: str, on_progress: Progress
) -> float:
    stage = name.replace("-", " ")
    on_progress(stage, 0, len(scored))
    # the memory bank is a subset of the normal patches, so distances to it are upper bounds
    scores = baseline.scores(
        [record.path for record, _, _ in scored],
        (prediction.distances for _, prediction, _ in scored),
    )
    on_progress(stage, len(scored), len(scored))
    return image_auroc([result.defective for _, _, result in scored], scores)
