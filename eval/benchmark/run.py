"""Learns each data set with each backbone in a store of its own and measures the result."""

from __future__ import annotations

import datetime
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backbones.base import Backbone, Device, Precision
from backbones.geometry import Size
from backbones.pipeline import Skipped
from backbones.registry import load_backbone
from eval.baselines.table import find_baseline
from eval.benchmark.evaluate import evaluate
from eval.benchmark.results import BenchmarkResult, CategoryReport
from indexer.calibration.methods import CONFORMAL, CalibrationSettings
from indexer.data.dataset import read_dataset
from indexer.data.image_records import ImageRecord, normal_images
from indexer.learn.build import BuildReport, build_index
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.store.open import open_store


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """Settings with which each category is learnt; see ``build_index`` and ``load_backbone``."""

    coreset: float = 0.1
    holdout: float = 0.2
    seed: int = 0
    calibration: CalibrationSettings = CONFORMAL
    precision: Precision | None = None
    device: Device = "cpu"
    input_size: Size | None = None
    crop: Size | None = None
    padding: bool | None = None

    def load(
        self, name: str, weights: Mapping[str, Path] | None, records: Sequence[ImageRecord]
    ) -> Backbone:
        """The backbone for a data set, with the file that ``weights`` names for it, if any."""
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

    @contextmanager
    def learnt(
        self,
        records: Sequence[ImageRecord],
        category: str,
        backbone: Backbone,
        on_progress: Progress = lambda stage, done, total: None,
    ) -> Iterator[tuple[VectorStore, BuildReport]]:
        """Context with a temporary store that has learnt the records as ``category``."""
        with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
            build = build_index(
                records,
                category=category,
                backbone=backbone,
                store=store,
                calibration=self.calibration,
                coreset=self.coreset,
                holdout=self.holdout,
                seed=self.seed,
                on_progress=on_progress,
            )
            yield store, build


def run_benchmark(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    out: Path,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    baselines: Sequence[str] = (),
    on_progress: Progress = lambda stage, done, total: None,
    on_skipped: Callable[[Skipped], None] = lambda skipped: None,
    on_report: Callable[[BenchmarkResult], object] = lambda so_far: None,
) -> BenchmarkResult:
    """Benchmark every data set with every backbone, each learnt in a temporary store.

    Args:
        weights: local weight files by backbone name.
        baselines: names from `BASELINES` that also score each test image.
        on_report: called with all reports so far whenever one is finished, to save them.

    Raises:
        VecspectError: no baseline has that name.
        DatasetError: a data set has no normal or no test images.
    """
    for name in baselines:
        find_baseline(name)  # a mistyped one is told before the work
    settings = settings or BenchmarkSettings()
    reports = []
    for name in backbones:
        for dataset in datasets:
            records = read_dataset(dataset)
            category = dataset.resolve().stem
            backbone = settings.load(name, weights, records)
            stages = named_stages(on_progress, f"{category}, {name}")
            # test images are left out: they would be embedded and scored twice
            train = [record for record in records if record.split == "train"]
            with settings.learnt(train, category, backbone, stages) as (store, build):
                evaluation = evaluate(
                    store,
                    build,
                    backbone,
                    records,
                    dataset=str(dataset),
                    out=out,
                    baselines=baselines,
                    on_progress=stages,
                )
            for skipped in dict.fromkeys((*build.skipped, *evaluation.skipped)):
                on_skipped(skipped)
            reports.append(evaluation.report)
            on_report(benchmark_result(reports))
    return benchmark_result(reports)


def benchmark_result(reports: Iterable[CategoryReport]) -> BenchmarkResult:
    """Reports with the current time and the command of this process."""
    return BenchmarkResult(
        reports=tuple(reports),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )


def named_stages(on_progress: Progress, prefix: str) -> Progress:
    """Progress callback that prefixes every stage's name with ``prefix``."""
    return lambda stage, done, total: on_progress(f"{prefix}: {stage}", done, total)
