"""Learns each data set with each backbone in a store of its own and measures the result."""

from __future__ import annotations

import datetime
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.base import Backbone, Device, Precision
from backbones.errors import ImageError
from backbones.pipeline import Skipped
from backbones.registry import load_backbone
from eval.baselines.by_embedding.brute_force import BruteForce
from eval.benchmark.results import (
    BenchmarkResult,
    CategoryReport,
    CategoryRun,
    HeatmapRef,
    ImageResult,
    summarise,
)
from eval.metrics.detection import PixelMetrics, image_auroc
from indexer.catalog.collections import with_channels
from indexer.data.image_records import DatasetError, ImageRecord, normal_images, read_dataset
from indexer.learn.build import BuildReport, build_index
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector
from search.prediction import Prediction

PICTURES_OF_A_KIND = 3
BRUTE_FORCE = "image AUROC, brute force over all normal patches"


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """How each category is learnt; see ``build_index``, ``calibrate`` and ``load_backbone``."""

    coreset: float = 0.1
    holdout: float = 0.2
    seed: int = 0
    alpha_reject: float | None = None
    alpha_review: float | None = None
    precision: Precision | None = None
    device: Device = "cpu"
    input_size: int | None = None
    crop: int | None = None
    padding: bool | None = None

    def load(
        self, name: str, weights: Mapping[str, Path] | None, records: Sequence[ImageRecord]
    ) -> Backbone:
        """The backbone for a data set, from its file among ``weights`` by name if it has one."""
        return load_backbone(
            name,
            weights=(weights or {}).get(name),
            precision=self.precision,
            device=self.device,
            input_size=self.input_size,
            crop=self.crop,
            padding=self.padding,
            images=normal_images(records),
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A report and the files that could not be used for it."""

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
    brute_force: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Score the test records of a freshly built category and summarise.

    Pictures of the worst normal, best and missed defective images go to ``out``/pictures.
    Milliseconds run from file to verdict, one image at a time, after a warm-up.

    Raises:
        DatasetError: no test image, or none readable.
    """
    entry = build.entry
    inspector = Inspector(store, entry.category, backbone=entry.backbone, network=backbone)
    tests = [record for record in records if record.split == "test"]
    if not tests:
        raise DatasetError(f"{dataset} has no test images: nothing to evaluate.")
    scored, skipped = _score(inspector, tests, on_progress)
    if not scored:
        raise DatasetError(f"no test image of {dataset} can be read; {skipped[0].reason}")
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
    )
    patches = entry.spec.level == "patch"
    if brute_force and patches:
        rival = BruteForce(with_channels(backbone, entry), normal_images(records))
        run = replace(run, baseline=_brute_force(rival, scored, on_progress))
    images = [result for _, _, result in scored]
    return Evaluation(
        summarise(run, images, _pixel_metrics(scored) if patches else None), tuple(skipped)
    )


_Scored = tuple[ImageRecord, Prediction, ImageResult]


def run_benchmark(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    out: Path,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    brute_force: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
    on_skipped: Callable[[Skipped], None] = lambda skipped: None,
    on_report: Callable[[BenchmarkResult], object] = lambda so_far: None,
) -> BenchmarkResult:
    """Every data set with every backbone, each learnt from scratch in a throw-away store.

    Args:
        weights: local weight files by backbone name.
        brute_force: also score with every normal patch and no coreset, as a rival.
        on_report: called with all reports so far whenever one is ready, to keep them.
    """
    settings = settings or BenchmarkSettings()
    reports = []
    for name in backbones:
        for dataset in datasets:
            records = read_dataset(dataset)
            category = dataset.resolve().stem
            backbone = settings.load(name, weights, records)
            with (
                tempfile.TemporaryDirectory(prefix="vecspect-") as folder,
                open_store(folder) as store,
            ):
                # without the test images: they would be embedded and scored twice
                build = build_index(
                    [record for record in records if record.split == "train"],
                    category=category,
                    backbone=backbone,
                    store=store,
                    calibrator=ConformalCalibrator(settings.alpha_reject, settings.alpha_review),
                    coreset=settings.coreset,
                    holdout=settings.holdout,
                    seed=settings.seed,
                    on_progress=named_stages(on_progress, f"{category}, {name}"),
                )
                evaluation = evaluate(
                    store,
                    build,
                    backbone,
                    records,
                    dataset=str(dataset),
                    out=out,
                    brute_force=brute_force,
                    on_progress=named_stages(on_progress, f"{category}, {name}"),
                )
            for skipped in dict.fromkeys((*build.skipped, *evaluation.skipped)):
                on_skipped(skipped)
            reports.append(evaluation.report)
            on_report(benchmark_result(reports))
    return benchmark_result(reports)


def benchmark_result(reports: Iterable[CategoryReport]) -> BenchmarkResult:
    """Reports with the time and the command of this process."""
    return BenchmarkResult(
        reports=tuple(reports),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )


def named_stages(on_progress: Progress, prefix: str) -> Progress:
    """The same callback with ``prefix`` before every stage's name."""
    return lambda stage, done, total: on_progress(f"{prefix}: {stage}", done, total)


def _score(
    inspector: Inspector, records: Sequence[ImageRecord], on_progress: Progress
) -> tuple[list[_Scored], list[Skipped]]:
    scored: list[_Scored] = []
    skipped: list[Skipped] = []
    for done, record in enumerate(records, 1):
        if not scored:  # the first answer loads the bank and warms the network up
            next(inspector.inspect_files([record.path]))
        began = time.perf_counter()
        outcome = next(inspector.inspect_files([record.path]))
        milliseconds = (time.perf_counter() - began) * 1e3
        on_progress("scoring", done, len(records))
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
            continue
        result = ImageResult(
            path=str(record.path),
            label=record.label,
            defect_type=record.defect_type,
            score=outcome.score,
            p_value=outcome.p_value,
            verdict=outcome.verdict,
            milliseconds=milliseconds,
        )
        scored.append((record, outcome, result))
    return scored, skipped


def _pixel_metrics(scored: Sequence[_Scored]) -> PixelMetrics | None:
    """Over normal images and the defective ones that have a mask; None without any mask."""
    if not any(record.mask for record, _, _ in scored):
        return None
    metrics = PixelMetrics()
    for record, prediction, _ in scored:
        if record.mask or record.label == "normal":
            mask = read_mask(record, prediction.width, prediction.height)
            metrics.update(prediction.anomaly_map(), mask)
    return metrics


def read_mask(record: ImageRecord, width: int, height: int) -> NDArray[np.bool_]:
    """(height, width) where the record's mask marks a defect; nowhere without a mask."""
    size = (width, height)
    if record.mask is None:
        return np.zeros((height, width), dtype=np.bool_)
    try:
        with Image.open(record.mask) as file:
            mask = file.convert("L")
    except OSError as error:
        raise ImageError(f"{record.mask}: the mask cannot be read: {error}") from error
    if mask.size != size:
        mask = mask.resize(size, Image.Resampling.NEAREST)
    return np.asarray(mask) > 127


def _pictures(inspector: Inspector, scored: Sequence[_Scored], out: Path) -> Iterable[HeatmapRef]:
    ascending = sorted(scored, key=lambda item: item[1].score)
    defects = [item for item in ascending if item[0].label == "defective"]
    missed = [item for item in defects if item[1].verdict != "reject"]
    chosen = {
        "worst normal": [item for item in reversed(ascending) if item[0].label == "normal"],
        "best defect": list(reversed(defects)),
        "missed defect": missed,
    }
    folder = Path("pictures") / f"{inspector.entry.category}--{inspector.entry.backbone}"
    (out / folder).mkdir(parents=True, exist_ok=True)
    for kind, items in chosen.items():
        for rank, (record, prediction, _) in enumerate(items[:PICTURES_OF_A_KIND], 1):
            picture = folder / f"{kind.replace(' ', '-')}-{rank}.jpg"
            inspector.explain(prediction).save(out / picture, quality=88)
            yield HeatmapRef(
                path=str(record.path),
                label=record.label,
                defect_type=record.defect_type,
                score=prediction.score,
                picture=picture.as_posix(),
                kind=kind,
            )


def _brute_force(
    rival: BruteForce, scored: Sequence[_Scored], on_progress: Progress
) -> dict[str, float]:
    on_progress("brute force", 0, len(scored))
    # the memory bank is a subset of these patches, so its distances are upper bounds
    scores = rival.scores(
        [record.path for record, _, _ in scored],
        (prediction.distances for _, prediction, _ in scored),
    )
    on_progress("brute force", len(scored), len(scored))
    return {BRUTE_FORCE: image_auroc([r.defective for _, _, r in scored], scores)}
