"""Benchmarks side by side: what was set differently, what came of it, and which images flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.benchmark.results import BenchmarkResult, CategoryReport, ImageResult
from eval.metrics.detection import Rate
from eval.metrics.table import METRICS

SETTINGS = (
    "backbone", "dataset", "n_train", "coreset", "bank_size", "holdout", "n_calibration", "seed",
    "alpha_reject", "alpha_review", "fingerprint",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One category of one benchmark, by the name the benchmark goes by."""

    name: str
    created_at: str
    report: CategoryReport


@dataclass(frozen=True, slots=True)
class Delta:
    """One figure in both runs; ``better`` is None where it is the same or undefined."""

    title: str
    before: float
    after: float
    better: bool | None


@dataclass(frozen=True, slots=True)
class Flip:
    """One image with another verdict; ``better`` if the later one is nearer the truth."""

    before: ImageResult
    after: ImageResult
    better: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run beside the reference run of its category.

    Attributes:
        settings: values in the reference and in this run, of those that differ, by name.
        flips: images of both runs with another verdict, those that became worse first.
        only_reference, only_run: test images that one of them lacks.
    """

    reference: Run
    run: Run
    deltas: tuple[Delta, ...]
    settings: Mapping[str, tuple[Any, Any]]
    flips: tuple[Flip, ...]
    only_reference: int
    only_run: int


def runs_of(benchmarks: Mapping[str, BenchmarkResult]) -> list[Run]:
    """The categories of some benchmarks, benchmark by benchmark."""
    return [
        Run(name, result.created_at, report)
        for name, result in benchmarks.items()
        for report in result.reports
    ]


def compare_runs(runs: Sequence[Run]) -> list[Comparison]:
    """Every later run of a category beside a run of the first benchmark that has the category.

    That is its run of the same backbone, or its first one where the backbone is what differs.
    """
    compared = []
    for run in runs:
        same = [other for other in runs if other.report.category == run.report.category]
        first = [other for other in same if other.name == same[0].name]
        alike = [other for other in first if other.report.backbone == run.report.backbone]
        reference = (alike or first)[0]
        if reference is not run:
            compared.append(_compared(reference, run))
    return compared


def _compared(reference: Run, run: Run) -> Comparison:
    before, after = _by_place(reference.report), _by_place(run.report)
    both = before.keys() & after.keys()
    return Comparison(
        reference,
        run,
        tuple(_deltas(reference.report, run.report)),
        _settings(reference.report, run.report),
        tuple(_flips([(before[place], after[place]) for place in both])),
        len(before) - len(both),
        len(after) - len(both),
    )


def _deltas(before: CategoryReport, after: CategoryReport) -> list[Delta]:
    deltas = []
    for name, metric in METRICS.items():
        old, new = (_value(getattr(report, name)) for report in (before, after))
        better = (new > old) == metric.higher_is_better if new < old or new > old else None
        deltas.append(Delta(metric.title, old, new, better))
    return deltas


def _value(figure: float | Rate) -> float:
    return figure.value if isinstance(figure, Rate) else figure


def _settings(before: CategoryReport, after: CategoryReport) -> dict[str, tuple[Any, Any]]:
    differ = {
        name: (getattr(before, name), getattr(after, name))
        for name in SETTINGS
        if getattr(before, name) != getattr(after, name)
    }
    for name in sorted({*before.versions, *after.versions}):
        versions = before.versions.get(name, "none"), after.versions.get(name, "none")
        if versions[0] != versions[1]:
            differ[f"version of {name}"] = versions
    return differ


def _by_place(report: CategoryReport) -> dict[str, ImageResult]:
    """The images by where they lie in the data set, wherever that lay."""
    root = Path(report.dataset)
    root = root.parent if root.suffix.lower() == ".csv" else root
    return {
        str(path.relative_to(root) if path.is_relative_to(root) else path): image
        for image in report.images
        for path in (Path(image.path),)
    }


_STRICTNESS = {"ok": 0, "review": 1, "reject": 2}


def _flips(pairs: Sequence[tuple[ImageResult, ImageResult]]) -> list[Flip]:
    flips = []
    for old, new in pairs:
        stricter = _STRICTNESS[new.verdict] - _STRICTNESS[old.verdict]
        if stricter:
            flips.append(Flip(old, new, (stricter > 0) == new.defective))
    return sorted(flips, key=lambda flip: (flip.better, flip.after.label, flip.after.path))
