"""What a number format costs: time, error of the features beside torch in fp32, image AUROC."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, Precision
from backbones.decode import load_image
from backbones.geometry import to_input
from backbones.pipeline import BATCH
from backbones.registry import load_backbone
from backbones.weights import torch_needed
from eval.benchmark.run import evaluate, named_stages
from indexer.data.image_records import DatasetError, normal_images, read_dataset
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator

TORCH = "torch f32"
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class PrecisionRow:
    """One number format.

    Attributes:
        single_ms: median milliseconds of the network on one image.
        batch_ms: the same per image in batches.
        largest_error: largest over patches of |f - t| / |t|, t being torch's patch in fp32.
        auroc: image AUROC, by data set; empty for torch, which is only timed.
    """

    name: str
    single_ms: float
    batch_ms: float
    largest_error: float
    auroc: tuple[float, ...]


def compare_precisions(
    datasets: Sequence[Path],
    backbone: str,
    weights: Path,
    *,
    images: int = 40,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[PrecisionRow]:
    """Every precision of ``backbone`` on each data set, in one run; torch in fp32 comes first.

    Timed and compared on the first ``images`` test images of the first data set; the formats take
    turns image by image. int8 is calibrated on each data set's own normal images.

    Raises:
        DatasetError: the first data set has no test image.
    """
    with torch_needed(backbone):
        from backbones.torch_runtime import TorchBackbone
    formats: tuple[Precision, ...] = get_args(Precision)
    records = read_dataset(datasets[0])
    networks: dict[str, Backbone] = {
        name: load_backbone(
            backbone, weights=weights, precision=name, images=normal_images(records)
        )
        for name in formats
    }
    spec = networks["f32"].spec
    tests = [record.path for record in records if record.split == "test"][:images]
    if not tests:
        raise DatasetError(f"{datasets[0]} has no test images.")
    inputs = np.stack([to_input(load_image(p).pixels, spec.input_size, spec.crop) for p in tests])
    torch_network = TorchBackbone(spec, weights, "cpu")
    errors, single, batched = _compare({TORCH: torch_network, **networks}, inputs, on_progress)
    aurocs: dict[str, tuple[float, ...]] = {
        name: tuple(_auroc(d, backbone, weights, name, on_progress) for d in datasets)
        for name in formats
    }
    return [
        PrecisionRow(name, single[name], batched[name], errors[name], aurocs.get(name, ()))
        for name in (TORCH, *formats)
    ]


def precision_table(rows: Sequence[PrecisionRow], datasets: Sequence[Path]) -> str:
    """The rows as Markdown."""
    heads = ["", "ms, one image", f"ms, batch of {BATCH}", "largest feature error"]
    heads += [f"AUROC {dataset.resolve().stem}" for dataset in datasets]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        error = "-" if row.name == TORCH else f"{row.largest_error:.1e}"
        aurocs = [f"{value:.4f}" for value in row.auroc] or ["-"] * len(datasets)
        lines.append([row.name, f"{row.single_ms:.1f}", f"{row.batch_ms:.1f}", error, *aurocs])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _compare(
    networks: dict[str, Backbone], inputs: NDArray[np.uint8], on_progress: Progress
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    single: dict[str, list[float]] = {name: [] for name in networks}
    batched: dict[str, list[float]] = {name: [] for name in networks}
    errors = dict.fromkeys(networks, 0.0)
    for network in networks.values():
        for _ in range(WARM_UP):
            network.embed(inputs[:1])
        network.embed(inputs[:BATCH])
    for done in range(len(inputs)):
        image = inputs[done : done + 1]
        for name, network in networks.items():
            began = time.perf_counter()
            patches = network.embed(image).patches
            single[name].append((time.perf_counter() - began) * 1e3)
            if name == TORCH:
                want = patches
                length = np.linalg.norm(want, axis=-1)
            error = np.linalg.norm(patches - want, axis=-1) / length
            errors[name] = max(errors[name], float(error.max()))
        on_progress("comparing", done + 1, len(inputs))
    for start in range(0, len(inputs), BATCH):
        batch = inputs[start : start + BATCH]
        for name, network in networks.items():
            began = time.perf_counter()
            network.embed(batch)
            batched[name].append((time.perf_counter() - began) * 1e3 / len(batch))
    medians = [
        {name: statistics.median(values) for name, values in times.items()}
        for times in (single, batched)
    ]
    return errors, medians[0], medians[1]


def _auroc(
    dataset: Path, backbone: str, weights: Path, precision: Precision, on_progress: Progress
) -> float:
    """Learnt and scored at the default settings."""
    records = read_dataset(dataset)
    network = load_backbone(
        backbone, weights=weights, precision=precision, images=normal_images(records)
    )
    progress = named_stages(on_progress, f"{dataset.resolve().stem}, {precision}")
    with (
        tempfile.TemporaryDirectory(prefix="vecspect-") as folder,
        open_store(str(Path(folder) / "store")) as store,
    ):
        build = build_index(
            [record for record in records if record.split == "train"],
            category="precision",
            backbone=network,
            store=store,
            calibrator=ConformalCalibrator(),
            on_progress=progress,
        )
        evaluation = evaluate(
            store,
            build,
            network,
            records,
            dataset=str(dataset),
            out=Path(folder),
            on_progress=progress,
        )
    return evaluation.report.image_auroc
