"""The commands that measure and show: benchmark, speed, precision, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.options import (
    FAILED,
    BackboneName,
    Coreset,
    Crop,
    Device,
    Holdout,
    InputSize,
    Padding,
    Precision,
    Reject,
    Review,
    Seed,
    settings_of,
    weights_by_name,
)


def benchmark(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET", help="Labelled data sets.")],
    backbone: Annotated[
        list[str] | None, typer.Option(help="A name from `vecspect backbones`; repeatable.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights of a backbone; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("benchmark_out"),
    brute_force: Annotated[
        bool,
        typer.Option("--brute-force", help="Also score against all normal patches, as a rival."),
    ] = False,
    coreset: Coreset = None,
    holdout: Holdout = None,
    seed: Seed = None,
    reject: Reject = None,
    review: Review = None,
    precision: Precision = None,
    device: Device = None,
    input_size: InputSize = None,
    crop: Crop = None,
    no_padding: Padding = None,
) -> None:
    """Learn each data set with each backbone, score its test images, write a report.

    The store in use is not touched.
    """
    from eval.benchmark import BenchmarkSettings, run_benchmark
    from eval.report import write_report
    from eval.summary import summary_table
    from ui.console import note_skipped, progress_bars, say, table

    settings = settings_of(
        coreset=coreset,
        holdout=holdout,
        seed=seed,
        alpha_reject=reject,
        alpha_review=review,
        precision=precision,
        device=device,
        input_size=input_size,
        crop=crop,
        padding=False if no_padding else None,
    )
    skipped: list[Any] = []
    with progress_bars() as on_progress:
        result = run_benchmark(
            datasets,
            backbone or [settings.backbone],
            out=out,
            weights=weights_by_name(weights or []),
            settings=BenchmarkSettings(
                coreset=settings.coreset,
                holdout=settings.holdout,
                seed=settings.seed,
                alpha_reject=settings.alpha_reject,
                alpha_review=settings.alpha_review,
                precision=settings.precision,
                device=settings.device,
                input_size=settings.input_size,
                crop=settings.crop,
                padding=settings.padding,
            ),
            brute_force=brute_force,
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
        raise typer.Exit(FAILED)


def speed(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A data set with test images.")
    ],
    weights: Annotated[Path, typer.Option(help="Weight file, .safetensors or .pth.")],
    backbone: BackboneName = None,
    images: Annotated[int, typer.Option(min=1, help="Test images to time.")] = 40,
    coreset: Coreset = None,
    precision: Precision = None,
) -> None:
    """Time learning and scoring, beside plain torch with torch.cdist in the same run."""
    from eval.speed import measure_speed, percentile
    from ui.console import progress_bars, say, table

    settings = settings_of(backbone=backbone, coreset=coreset, precision=precision)
    with progress_bars() as on_progress:
        report = measure_speed(
            dataset,
            settings.backbone,
            weights,
            images=images,
            coreset=settings.coreset,
            precision=settings.precision,
            on_progress=on_progress,
        )
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in report.index_seconds.items())
    say(f"learning took {sum(report.index_seconds.values()):.1f} s ({stages})")
    say(f"one image, file to verdict and map, bank of {report.bank_patches} patches:")
    rows = [
        [name, f"{percentile(values, 50):.1f}", f"{percentile(values, 95):.1f}"]
        for name, values in (
            ("vecspect", report.ours),
            ("torch fp32 with torch.cdist", report.rival),
        )
    ]
    say(table(["", "median ms", "p95 ms"], rows))
    say(f"ratio {report.ratio:.1f}; image scores differ by at most {report.largest_difference:.1e}")


def precision(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET", help="Labelled data sets.")],
    backbone: Annotated[str, typer.Option(help="A name from `vecspect backbones`.")],
    weights: Annotated[Path, typer.Option(help="Weight file, .safetensors or .pth.")],
    images: Annotated[int, typer.Option(min=1, help="Test images to time and compare.")] = 40,
    out: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Compare f32, bf16 and int8: time, error of the features beside torch fp32, image AUROC."""
    from eval.precision import compare_precisions, precision_table
    from ui.console import progress_bars, say

    with progress_bars() as on_progress:
        rows = compare_precisions(
            datasets, backbone, weights, images=images, on_progress=on_progress
        )
    text = precision_table(rows, datasets)
    say(text)
    if out:
        out.write_text(f"# {backbone}\n\n{text}\n", encoding="utf-8")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, store and report.")] = Path(
        "demo_out"
    ),
) -> None:
    """Do the whole job on procedurally made data with the bundled network."""
    from ui.demo import run_demo

    run_demo(out)
