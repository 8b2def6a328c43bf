"""What `vecspect speed` runs, prints and writes."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.base import Precision
from backbones.errors import VecspectError
from backbones.registry import load_backbone
from eval.speed.timings import Timing, markdown, plot, summarise, write_csv
from ui.cli.console import progress_bars, say

if TYPE_CHECKING:
    from eval.speed.images import SpeedReport

PARTS = ("images", "knn", "coreset", "scaling", "library")
RIVALS = ("anomalib", "faiss")
BANKS = (2_000, 20_000, 100_000)
KNN_DIM = 1024
SHARES = (0.01, 0.1)


def run_speed(
    only: str,
    dataset: Path,
    backbone: str,
    weights: Path,
    *,
    images: int,
    against: Sequence[str],
    out: Path,
    coreset: float,
    precision: Precision | None,
) -> None:
    """Measure the part asked for; VecspectError names what is not known."""
    for word, known in ((only, PARTS), *((name, RIVALS) for name in against)):
        if word not in known:
            raise VecspectError(f"expected one of {', '.join(known)}, got '{word}'.")
    network = load_backbone(backbone, weights=weights, precision=precision)
    if network.spec.family != "patchcore":
        raise VecspectError(
            f"'{backbone}' is no PatchCore network, and the rivals are: choose patchcore-*."
        )
    if only == "images":
        from eval.speed.images import measure_speed

        with progress_bars() as on_progress:
            report = measure_speed(
                dataset,
                backbone,
                weights,
                images=images,
                coreset=coreset,
                precision=precision,
                against_anomalib="anomalib" in against,
                on_progress=on_progress,
            )
        notes = [*_describe_learning(report), *_describe_auroc(report)]
        _write(f"speed-images-{backbone}", report.timings, notes, out)
    if only == "knn":
        from eval.speed.knn import measure_knn

        dim = min(KNN_DIM, network.spec.dim)
        with progress_bars() as on_progress:
            timings, excess = measure_knn(
                dataset,
                network,
                sizes=BANKS,
                dim=dim,
                images=images,
                against_faiss="faiss" in against,
                on_progress=on_progress,
            )
        found = (
            f"Distances, computed in float64 for the neighbours found, exceed those of the "
            f"nearest that any method found by at most {excess:.1e} of them."
        )
        _write(f"speed-knn-{backbone}", timings, [found], out)
    if only == "coreset":
        from eval.speed.coreset import measure_coreset

        with progress_bars() as on_progress:
            timings, results = measure_coreset(
                dataset, network, shares=SHARES, on_progress=on_progress
            )
        notes = [
            f"{r.share:.0%}: the first {r.same_picks[0]} of {r.same_picks[1]} picks are the plain "
            f"loop's; covering radius {r.radius:.4g}, in chunks {r.chunked_radius:.4g} "
            f"({r.chunked_radius / r.radius:.3f} times)."
            for r in results
        ]
        _write(f"speed-coreset-{backbone}", timings, notes, out, unit="s")
    if only == "scaling":
        from eval.speed.scaling import measure_scaling
        from eval.speed.scaling_report import scaling_page

        with progress_bars() as on_progress:
            scaling = measure_scaling(
                dataset, network, weights, coreset=coreset, on_progress=on_progress
            )
        page = scaling_page(scaling, f"{dataset.resolve().stem}, {backbone}", _command())
        _write_page("scaling", page, asdict(scaling), out)
    if only == "library":
        from eval.speed.library import measure_library
        from eval.speed.library_report import library_page

        with progress_bars() as on_progress:
            library = measure_library(dataset, network, on_progress=on_progress)
        title = f"{dataset.resolve().stem}, {backbone}"
        page = library_page(library, title, _command(), _load())
        _write_page("library", page, asdict(library), out)


def _write_page(name: str, page: str, figures: dict[str, Any], out: Path) -> None:
    """Print the page; write it, and the figures it was made of."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    say(page)


def _describe_learning(report: SpeedReport) -> Iterator[str]:
    yield "Learning, each in a process of its own (stages in seconds, peak resident memory):"
    lines = ["| images | bank | total s | stages | peak MiB |", "|---:|---:|---:|---|---:|"]
    for learned in report.learned:
        stages = ", ".join(f"{stage} {value:.1f}" for stage, value in learned.seconds.items())
        lines.append(
            f"| {learned.images} | {learned.bank_patches} | {sum(learned.seconds.values()):.1f} "
            f"| {stages} | {learned.peak_mib:.0f} |"
        )
    yield "\n".join(lines)
    fit = report.anomalib
    if fit:
        ours = report.learned[-1]
        seconds = sum(ours.seconds.values())
        yield (
            f"anomalib {fit['version']} fits all {ours.images} images in {fit['seconds']:.0f} s "
            f"({fit['seconds_measured']:.0f} s measured up to pick {fit['picks_made']} of "
            f"{fit['picks']}, the other picks derived from the time of these): "
            f"{fit['seconds'] / seconds:.1f} times ours. Its peak is {fit['peak_mib']:.0f} MiB, "
            f"{fit['peak_mib'] / ours.peak_mib:.2f} times ours. For scoring it is given our bank."
        )


def _describe_auroc(report: SpeedReport) -> Iterator[str]:
    if report.auroc:
        values = ", ".join(f"{name} {value:.4f}" for name, value in report.auroc.items())
        yield f"Image AUROC of the images timed: {values}."


def _write(
    name: str, timings: Sequence[Timing], notes: Sequence[str], out: Path, unit: str = "ms"
) -> None:
    """Print the table; write it with the command, the raw rows and a plot."""
    out.mkdir(parents=True, exist_ok=True)
    summaries = list(summarise(timings))
    table = markdown(summaries, unit)
    notes = [*notes, _load()]
    text = "\n\n".join([f"    {_command()}", table.rstrip(), *notes]) + "\n"
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    write_csv(timings, out / f"{name}.csv")
    plot(summaries, out / f"{name}.png")
    say(table)
    for note in notes:
        say(note)
    say(f"\ntables: {out / name}.md, .csv, .png")


def _load() -> str:
    load = f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    return f"Load of the machine in the last five minutes, this run's included: {load}."


def _command() -> str:
    return shlex.join(["vecspect", *sys.argv[1:]])
