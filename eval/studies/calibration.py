"""Study of the false-reject rate over random splits of the normal images, by calibration method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from eval.arrays import Float32, Float64, Int64
from eval.benchmark.recall_report import recall_figure, recall_table
from eval.metrics.detection import image_auroc
from eval.pages import page, write_csv
from eval.studies.calibration_distances import NUMBERS, Distances
from indexer.calibration.base import DEFAULT_REJECT, Calibration, Levels, images_needed
from indexer.calibration.expected_recall import ExpectedRecall
from indexer.calibration.methods import CALIBRATIONS, CalibrationSettings
from indexer.progress import Progress
from indexer.synthetic.blending import KINDS

LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2)
METHOD_LEVELS: dict[str, tuple[float | None, ...]] = {"synthetic-f1": (None,)}
"""Levels requested of a method instead of `LEVELS`; None lets the number of images decide."""
HOLDOUT = 0.2


@dataclass(frozen=True, slots=True)
class Measured:
    """Outcome of one method at one level, over all splits.

    Attributes:
        images: number of normal images available.
        level: nominal false-reject rate; for synthetic-f1, which has none, the default.
        realised, recall, f1: means over the splits, on the images left out of them.
        error: standard error of ``realised`` over the splits.
        oracle_recall, oracle_f1: figures at the threshold that is best on the same images.
        auroc: AUROC with the memory bank that the method leaves, mean over the splits.
        smallest: smallest level that so many images support.
        bound: factor of the level that the realised rate cannot exceed; None without a bound.
    """

    dataset: str
    backbone: str
    method: str
    images: int
    level: float
    splits: int
    realised: float
    error: float
    recall: float
    f1: float
    oracle_recall: float
    oracle_f1: float
    auroc: float
    smallest: float
    bound: float | None


def run_splits(
    distances: Distances,
    dataset: str,
    backbone: str,
    splits: int,
    on_progress: Progress,
    numbers: Sequence[int] = NUMBERS,
) -> tuple[list[Measured], list[ExpectedRecall]]:
    """Run every method at every level it supports, for each number of normal images."""
    found: dict[tuple[str, int, float], list[_Outcome]] = {}
    for number in numbers:
        for split in range(splits):
            rng = np.random.default_rng([number, split])
            order = rng.permutation(distances.normal)
            for key, outcome in _one_split(distances, order, number):
                found.setdefault(key, []).append(outcome)
            on_progress(f"{number} images", split + 1, splits)
    measured = [_mean(dataset, backbone, key, outcomes) for key, outcomes in found.items()]
    at_most_images = found.get(("conformal", max(numbers), 0.05), [])
    caught = sum((outcome.caught for outcome in at_most_images), np.zeros((len(KINDS), 2)))
    shares = [
        ExpectedRecall(
            dataset, backbone, size, contrast, hits / max(1, total), int(total) // splits
        )
        for (size, contrast), (hits, total) in zip(KINDS, caught, strict=True)
    ]
    return measured, shares


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One method at one level in one split.

    ``figures`` are named as in `Measured`; ``caught`` (kinds, 2) holds the numbers of synthetic
    defects above the threshold and in total.
    """

    calibration: Calibration
    figures: dict[str, float]
    caught: Float64


def _one_split(
    distances: Distances, order: Int64, number: int
) -> Iterator[tuple[tuple[str, int, float], _Outcome]]:
    held = max(1, round(HOLDOUT * number))
    at_hand, rest = order[:number], order[number:]
    halves: dict[str, tuple[Int64, Float32]] = {
        "holdout": (order[:held], distances.scores(order[held:number])),
        "leave-one-out": (at_hand, distances.scores(at_hand)),
    }
    for method in CALIBRATIONS.values():
        calibrating, scores = halves[method.layout]
        normal, defective = scores[rest], scores[2 * distances.normal :]
        best_recall, best_f1 = _oracle(normal, defective)
        auroc = image_auroc([False] * len(normal) + [True] * len(defective), [*normal, *defective])
        for requested in METHOD_LEVELS.get(method.name, LEVELS):
            level = DEFAULT_REJECT if requested is None else requested
            if method.bound is not None and len(calibrating) < images_needed(level):
                continue
            settings = CalibrationSettings(method.name, Levels(reject=requested))
            calibration = settings.calibrate(
                scores[calibrating].tolist(),
                synthetic=scores[distances.normal + calibrating].tolist(),
            )
            threshold = calibration.threshold
            rejected, found = normal > threshold, defective > threshold
            synthetic = scores[distances.normal + rest] > threshold
            caught = np.zeros((len(KINDS), 2))
            np.add.at(caught, rest % len(KINDS), np.stack([synthetic, synthetic | True], axis=1))
            figures = {
                "realised": float(rejected.mean()),
                "recall": float(found.mean()),
                "f1": float(2 * found.sum() / (found.sum() + rejected.sum() + len(found))),
                "oracle_recall": best_recall,
                "oracle_f1": best_f1,
                "auroc": auroc,
            }
            yield (method.name, number, level), _Outcome(calibration, figures, caught)


def _mean(
    dataset: str, backbone: str, key: tuple[str, int, float], outcomes: Sequence[_Outcome]
) -> Measured:
    method, number, level = key
    names = outcomes[0].figures
    columns = {name: [outcome.figures[name] for outcome in outcomes] for name in names}
    calibration = outcomes[0].calibration
    return Measured(
        dataset,
        backbone,
        method,
        number,
        level,
        len(outcomes),
        error=float(np.std(columns["realised"]) / np.sqrt(len(outcomes))),
        smallest=calibration.smallest_alpha,
        bound=calibration.bound,
        **{name: float(np.mean(values)) for name, values in columns.items()},
    )


def _oracle(normal: Float32, defective: Float32) -> tuple[float, float]:
    """Recall and F1 at the threshold that is best on the same images."""
    truth = np.repeat([0, 1], [len(normal), len(defective)])
    precision, recall, _ = precision_recall_curve(truth, np.concatenate([normal, defective]))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    return float(recall[best]), float(f1[best])


_MARKS = {"conformal": "o-", "cross-conformal": "s--", "sigma": "^:", "synthetic-f1": "x"}
ALLOWED_ERRORS = 3
"""Standard errors by which a realised rate may exceed its bound and still count as within it."""


def write_study(measured: Sequence[Measured], caught: Sequence[ExpectedRecall], out: Path) -> None:
    """Write calibration.csv, .md, .png and synthetic_recall.md, .png to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    write_csv(measured, out / "calibration.csv")
    (out / "calibration.md").write_text(study_table(measured), encoding="utf-8")
    (out / "synthetic_recall.md").write_text(recall_table(caught), encoding="utf-8")
    figures = {"calibration": rate_figure(measured), "synthetic_recall": recall_figure(caught)}
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110, metadata={"Software": None})


def within_bound(row: Measured) -> bool:
    """True if the realised rate exceeds its stated bound by no more than sampling error."""
    bound = 1 if row.bound is None else row.bound
    return row.realised <= bound * row.level + ALLOWED_ERRORS * row.error


def study_table(measured: Sequence[Measured]) -> str:
    """Markdown table, one row per data set, network, method, number of images and level."""
    return page("calibration.md", measured=measured, within_bound=within_bound)


def rate_figure(measured: Sequence[Measured]) -> Figure:
    """Realised against nominal false-reject rate, one panel per data set, network and number."""
    runs = list(dict.fromkeys((row.dataset, row.backbone) for row in measured))
    numbers = sorted({row.images for row in measured})
    figure = Figure(figsize=(11, 2.9 * len(runs) + 0.4), layout="constrained")
    panels = figure.subplots(len(runs), len(numbers), squeeze=False)
    for (dataset, backbone), axes_row in zip(runs, panels, strict=True):
        for number, axes in zip(numbers, axes_row, strict=True):
            axes.plot([0, 0.22], [0, 0.22], color="0.6", linewidth=0.8)
            axes.plot([0, 0.22], [0, 0.44], color="0.6", linewidth=0.8, linestyle=":")
            for method, mark in _MARKS.items():
                rows = [
                    row
                    for row in measured
                    if (row.dataset, row.backbone, row.images, row.method)
                    == (dataset, backbone, number, method)
                ]
                if method == "synthetic-f1" and rows:
                    axes.axhline(rows[0].realised, color="0.3", linewidth=0.8, label=method)
                elif rows:
                    levels, rates = [r.level for r in rows], [r.realised for r in rows]
                    axes.plot(levels, rates, mark, markersize=5, label=method)
            axes.set(xlim=(0, 0.22), ylim=(0, 0.45))
            axes.set_title(f"{dataset}, {backbone}, {number} images", fontsize=8)
            axes.set_xlabel(f"nominal ({', '.join(f'{level:g}' for level in LEVELS)})", fontsize=7)
            axes.set_ylabel("realised", fontsize=7)
    handles: dict[str, Artist] = {}
    for axes in panels.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure
