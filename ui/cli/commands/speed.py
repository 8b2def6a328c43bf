"""The command that times vecspect beside other ways to do the same."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli import options
from ui.cli.console import progress_bars, say

if TYPE_CHECKING:
    from backbones.base import Backbone
    from eval.speed.costs import Timing
    from eval.speed.learning import Learning

BASELINES = ("anomalib", "faiss")
BANKS = (2_000, 20_000, 100_000)
KNN_DIM = 1024


def speed(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A data set with test images.")
    ],
    weights: options.WeightFile,
    backbone: options.BackboneName = None,
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
    coreset: options.Coreset = None,
    precision: options.Precision = None,
) -> None:
    """Time vecspect beside other ways to do the same, in alternation in one run."""
    from eval.speed.learning import Learning

    settings = options.settings_of(backbone=backbone, coreset=coreset, precision=precision)
    learning = Learning(dataset, settings.backbone, weights, settings.precision, settings.coreset)
    run_speed(only, SpeedRun(learning, images, against or [], out))


@dataclass(frozen=True, slots=True)
class SpeedRun:
    """Parameters of a timing run: data set, number of images, baselines, output folder."""

    learning: Learning
    images: int
    against: Sequence[str]
    out: Path

    @property
    def title(self) -> str:
        """Data set and backbone."""
        return f"{self.learning.dataset.resolve().stem}, {self.learning.backbone}"


def run_speed(only: str, run: SpeedRun) -> None:
    """Measure what ``only`` names; VecspectError names what is not known."""
    from backbones.errors import VecspectError

    for word, known in ((only, tuple(_MEASURED)), *((name, BASELINES) for name in run.against)):
        if word not in known:
            raise VecspectError(f"expected one of {', '.join(known)}, got '{word}'.")
    network = run.learning.load()
    if network.spec.family != "patchcore":
        raise VecspectError(
            f"'{run.learning.backbone}' is no PatchCore network, and the baselines are: "
            "choose patchcore-*."
        )
    _MEASURED[only](run, network)


def _time_images(run: SpeedRun, network: Backbone) -> None:
    from eval.speed.images import measure_speed

    anomalib = "anomalib" in run.against
    with progress_bars() as on_progress:
        report = measure_speed(
            run.learning,
            network,
            images=run.images,
            against_anomalib=anomalib,
            on_progress=on_progress,
        )
    _write("images", report.timings, report.notes(), run)


def _time_knn(run: SpeedRun, network: Backbone) -> None:
    from eval.speed.knn import measure_knn

    with progress_bars() as on_progress:
        timings, excess = measure_knn(
            run.learning.dataset,
            network,
            sizes=BANKS,
            dim=min(KNN_DIM, network.spec.dim),
            images=run.images,
            against_faiss="faiss" in run.against,
            on_progress=on_progress,
        )
    found = (
        f"Distances, computed in float64 for the neighbours found, exceed those of the "
        f"nearest that any method found by at most {excess:.1e} of them."
    )
    _write("knn", timings, [found], run)


def _time_coreset(run: SpeedRun, network: Backbone) -> None:
    from eval.speed.coreset import measure_coreset

    with progress_bars() as on_progress:
        timings, results = measure_coreset(run.learning.dataset, network, on_progress=on_progress)
    _write("coreset", timings, [result.note() for result in results], run, unit="s")


def _time_scaling(run: SpeedRun, network: Backbone) -> None:
    from eval.speed.scaling import measure_scaling
    from eval.speed.scaling_report import scaling_page

    with progress_bars() as on_progress:
        scaling = measure_scaling(run.learning, network, on_progress=on_progress)
    _write_page("scaling", scaling_page(scaling, run.title, _command()), asdict(scaling), run.out)


def _time_library(run: SpeedRun, network: Backbone) -> None:
    from eval.speed.library.measure import library_page, measure_library

    with progress_bars() as on_progress:
        library = measure_library(run.learning.dataset, network, on_progress=on_progress)
    page = library_page(library, run.title, _command(), _load())
    _write_page("library", page, asdict(library), run.out)


_MEASURED: dict[str, Callable[[SpeedRun, Backbone], None]] = {
    "images": _time_images,
    "knn": _time_knn,
    "coreset": _time_coreset,
    "scaling": _time_scaling,
    "library": _time_library,
}
"""What ``--only`` may name."""


def _write_page(name: str, page: str, figures: dict[str, Any], out: Path) -> None:
    """Print the page; write it, and the figures it was made of."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    say(page)


def _write(
    what: str, timings: Sequence[Timing], notes: Sequence[str], run: SpeedRun, unit: str = "ms"
) -> None:
    """Print the table; write it with the command, the raw rows and a plot."""
    from eval.speed.costs import write_timings

    name, notes = f"speed-{what}-{run.learning.backbone}", [*notes, _load()]
    table = write_timings(timings, notes, run.out, name, command=_command(), unit=unit)
    for paragraph in (table, *notes):
        say(paragraph)
    say(f"\ntables: {run.out / name}.md, .csv, .png")


def _load() -> str:
    load = f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    return f"Load of the machine in the last five minutes, this run's included: {load}."


def _command() -> str:
    return shlex.join(["vecspect", *sys.argv[1:]])
