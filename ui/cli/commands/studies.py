"""The commands that show whether what the product promises holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli import options
from ui.cli.console import progress_bars, say


def calibration(
    datasets: options.Labelled,
    backbone: options.BackboneNames = None,
    weights: options.NamedWeights = None,
    out: Annotated[Path, typer.Option(help="Folder of tables and figures.")] = Path("study_out"),
    splits: Annotated[int, typer.Option(min=2, help="Random splits of the normal images.")] = 200,
) -> None:
    """Compare realised with nominal false-reject rates, by calibration method and random split."""
    from backbones.registry import load_backbone
    from eval.benchmark.run import named_stages
    from eval.studies.calibration import run_splits, study_table, write_study
    from eval.studies.calibration_distances import measure_distances
    from indexer.data.dataset import read_dataset
    from indexer.data.image_records import normal_images

    files = options.weights_by_name(weights)
    measured, caught = [], []
    with progress_bars() as on_progress:
        for name in backbone or [options.settings_of().backbone]:
            for dataset in datasets:
                records = read_dataset(dataset)
                network = load_backbone(
                    name, weights=files.get(name), images=normal_images(records)
                )
                title = dataset.resolve().stem
                stages = named_stages(on_progress, f"{title}, {name}")
                distances = measure_distances(records, network, stages)
                rows, shares = run_splits(distances, title, name, splits, stages)
                measured += rows
                caught += shares
                write_study(measured, caught, out)  # what is there survives an interruption
    say(study_table(measured))


def updates(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A labelled data set.")],
    backbone: options.ListedBackbone = "compact",
    weights: options.Weights = None,
    out: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Measure incremental updates, audit and drift alarm on one data set."""
    from backbones.registry import load_backbone
    from eval.studies.updates import Finding, study_updates
    from indexer.data.dataset import read_dataset
    from indexer.data.image_records import normal_images

    records = read_dataset(dataset)
    network = load_backbone(backbone, weights=weights, images=normal_images(records))
    lines = [f"| {dataset.resolve().stem}, {backbone} | |", "|---|---|"]

    def keep(finding: Finding) -> None:
        lines.append(f"| {finding[0]} | {finding[1]} |")
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("\n".join(lines) + "\n", encoding="utf-8")

    with progress_bars() as on_progress:
        study_updates(records, network, on_finding=keep, on_progress=on_progress)
    say("\n".join(lines))


def precision(
    datasets: options.Labelled,
    backbone: options.ListedBackbone,
    weights: options.WeightFile,
    images: Annotated[int, typer.Option(min=1, help="Test images to time and compare.")] = 40,
    out: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Compare f32, bf16 and int8: time, error of the features beside torch fp32, image AUROC."""
    from eval.speed.precision import compare_precisions, precision_table

    with progress_bars() as on_progress:
        rows = compare_precisions(
            datasets, backbone, weights, images=images, on_progress=on_progress
        )
    text = precision_table(rows, datasets)
    say(text)
    if out:
        out.write_text(f"# {backbone}\n\n{text}\n", encoding="utf-8")


@options.grouped
def threads(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Images, folders or globs.")],
    category: options.Category,
    calls: Annotated[int, typer.Option(min=1, help="Answers to count.")] = 10_000,
    *,
    scoring: options.ScoringOptions,
) -> None:
    """Count wrong answers of eight threads that share an inspector; time one, two and four."""
    from eval.studies.threads import study_threads
    from indexer.data.image_records import expand_paths

    files = expand_paths(paths)
    with scoring.open_inspector(category) as inspector, progress_bars() as on_progress:
        for measured, figure in study_threads(inspector, files, calls, on_progress):
            say(f"{measured}: {figure}")
