"""The commands that measure and show: benchmark, speed, precision, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.options import (
    FAILED,
    BackboneName,
    BackboneNames,
    Coreset,
    Crop,
    Device,
    Holdout,
    InputSize,
    Labelled,
    NamedWeights,
    Padding,
    Precision,
    Reject,
    Review,
    Seed,
    settings_of,
    weights_by_name,
)

if TYPE_CHECKING:
    from eval.benchmark.run import BenchmarkSettings


def benchmark(
    datasets: Labelled,
    backbone: BackboneNames = None,
    weights: NamedWeights = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("benchmark_out"),
    brute_force: Annotated[
        bool,
        typer.Option("--brute-force", help="Also score against all normal patches, as a rival."),
    ] = False,
    retrieval: Annotated[
        bool,
        typer.Option("--retrieval", help="Measure similarity search instead of detection."),
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

    With --retrieval, find for each defective image those of its type (as a whole, by what deviates,
    and by the box around its mask if it has one), and as a whole those of the label that a normal
    or defective image has; leave the image out, and if names tell that several show one part, also
    these; and write retrieval.md. The store in use is not touched.
    """
    from eval.benchmark.report import write_report
    from eval.benchmark.run import BenchmarkSettings, run_benchmark
    from eval.benchmark.summary import summary_table
    from ui.cli.console import note_skipped, progress_bars, say, table

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
    names, files = backbone or [settings.backbone], weights_by_name(weights or [])
    measured = BenchmarkSettings(
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
    )
    if retrieval:
        _retrieval(datasets, names, files, out, measured)
        return
    skipped: list[Any] = []
    with progress_bars() as on_progress:
        result = run_benchmark(
            datasets,
            names,
            out=out,
            weights=files,
            settings=measured,
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
    only: Annotated[
        str,
        typer.Option(
            help="What to time: images (learning and scoring), knn, coreset, scaling, library."
        ),
    ] = "images",
    images: Annotated[int, typer.Option(min=1, help="Test images to time.")] = 40,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Also time anomalib or faiss (see make compare-env); repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("speed_out"),
    coreset: Coreset = None,
    precision: Precision = None,
) -> None:
    """Time vecspect beside other ways to do the same, in alternation in one run."""
    from ui.cli.commands.speed import run_speed

    settings = settings_of(backbone=backbone, coreset=coreset, precision=precision)
    run_speed(
        only,
        dataset,
        settings.backbone,
        weights,
        images=images,
        against=against or [],
        out=out,
        coreset=settings.coreset,
        precision=settings.precision,
    )


def precision(
    datasets: Labelled,
    backbone: Annotated[str, typer.Option(help="A name from `vecspect backbones`.")],
    weights: Annotated[Path, typer.Option(help="Weight file, .safetensors or .pth.")],
    images: Annotated[int, typer.Option(min=1, help="Test images to time and compare.")] = 40,
    out: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Compare f32, bf16 and int8: time, error of the features beside torch fp32, image AUROC."""
    from eval.speed.precision import compare_precisions, precision_table
    from ui.cli.console import progress_bars, say

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
    from ui.cli.console import progress_bars
    from ui.demo import run_demo

    with progress_bars() as on_progress:
        run_demo(out, on_progress)


def _retrieval(
    datasets: list[Path],
    backbones: list[str],
    weights: dict[str, Path],
    out: Path,
    settings: BenchmarkSettings,
) -> None:
    from eval.benchmark.retrieval import run_retrieval
    from eval.benchmark.retrieval_report import retrieval_table
    from ui.cli.console import progress_bars, say

    with progress_bars() as on_progress:
        rows = run_retrieval(
            datasets,
            backbones,
            weights=weights,
            settings=settings,
            on_progress=on_progress,
        )
    text = retrieval_table(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / "retrieval.md").write_text(text + "\n", encoding="utf-8")
    say(text)
