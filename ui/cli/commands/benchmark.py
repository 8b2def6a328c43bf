"""The commands that measure networks on labelled data sets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli import options
from ui.cli.console import note_skipped, progress_bars, say, table

if TYPE_CHECKING:
    from backbones.pipeline import Skipped
    from eval.benchmark.run import BenchmarkSettings
    from ui.settings import AppSettings


@options.grouped
def benchmark(
    datasets: options.Labelled,
    backbone: options.BackboneNames = None,
    weights: options.NamedWeights = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("benchmark_out"),
    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also score by a baseline: brute-force, against every normal patch; repeatable.",
        ),
    ] = None,
    retrieval: Annotated[
        bool, typer.Option("--retrieval", help="Measure similarity search instead of detection.")
    ] = False,
    *,
    learning: options.LearningOptions,
    network: options.NetworkOptions,
) -> None:
    """Learn each data set with each backbone, score its test images, write a report.

    With --retrieval, search the images of each data set for those like each test image, leaving
    out the image itself and, where file names tell, other images of the same part. For defective
    images: whether the first hits are of the same defect type, by the whole image, by its defect
    and by the box around the mask. For all: whether they have the same label. Writes retrieval.md.
    The store in use is not touched.
    """
    settings = options.settings_of(**asdict(learning), **asdict(network))
    names, files = backbone or [settings.backbone], options.weights_by_name(weights)
    if retrieval:
        _retrieval(datasets, names, files, out, _learnt_by(settings))
    else:
        _detection(datasets, names, files, out, _learnt_by(settings), _baselines(methods))


def _baselines(names: list[str] | None) -> list[str]:
    from eval.baselines.table import BASELINES

    expected = f"one of {', '.join(BASELINES)}"
    return [options.one_of(name, tuple(BASELINES), "--methods", expected) for name in names or []]


def _learnt_by(settings: AppSettings) -> BenchmarkSettings:
    from eval.benchmark.run import BenchmarkSettings
    from indexer.calibration.base import Levels
    from indexer.calibration.methods import CalibrationSettings
    from ui.settings import square

    return BenchmarkSettings(
        coreset=settings.coreset,
        holdout=settings.holdout,
        seed=settings.seed,
        calibration=CalibrationSettings(
            levels=Levels(settings.alpha_reject, settings.alpha_review)
        ),
        precision=settings.precision,
        device=settings.device,
        input_size=square(settings.input_size),
        crop=square(settings.crop or None),
        padding=settings.padding,
    )


def _detection(
    datasets: list[Path],
    backbones: list[str],
    weights: dict[str, Path],
    out: Path,
    settings: BenchmarkSettings,
    baselines: list[str],
) -> None:
    from eval.benchmark.report import write_report
    from eval.benchmark.run import run_benchmark
    from eval.benchmark.summary import summary_table

    skipped: list[Skipped] = []
    with progress_bars() as on_progress:
        result = run_benchmark(
            datasets,
            backbones,
            out=out,
            weights=weights,
            settings=settings,
            baselines=baselines,
            on_progress=on_progress,
            on_skipped=skipped.append,
            on_report=lambda so_far: write_report(so_far, out),
        )
    report = write_report(result, out)
    summary = summary_table(result)
    say(table([column.title for column in summary.columns], summary.texts))
    say(f"\nreport: {report.html}")
    for item in skipped:
        note_skipped(item)
    if skipped:
        raise typer.Exit(options.FAILED)


def _retrieval(
    datasets: list[Path],
    backbones: list[str],
    weights: dict[str, Path],
    out: Path,
    settings: BenchmarkSettings,
) -> None:
    from eval.benchmark.leave_one_out import retrieval_table
    from eval.benchmark.retrieval import run_retrieval

    with progress_bars() as on_progress:
        rows = run_retrieval(
            datasets, backbones, weights=weights, settings=settings, on_progress=on_progress
        )
    text = retrieval_table(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / "retrieval.md").write_text(text + "\n", encoding="utf-8")
    say(text)
