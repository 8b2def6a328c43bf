"""Cost of each number format: time, feature error relative to torch in fp32, image AUROC."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np

from backbones.base import Backbone, Precision
from backbones.pipeline import BATCH, network_input
from backbones.registry import load_backbone
from backbones.weights import torch_needed
from eval.arrays import Uint8
from eval.benchmark.run import BenchmarkSettings, named_stages, run_benchmark
from eval.pages import page
from eval.speed.costs import milliseconds
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError, normal_images
from indexer.progress import Progress

TORCH = "torch f32"
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class PrecisionRow:
    """Measurements of one number format.

    Attributes:
        single_ms, batch_ms: median time of the network on one image, and per image in batches.
        largest_error: largest |f - t| / |t| over the patches, t being torch's patch in fp32.
        auroc: image AUROC by data set; empty for torch, which is only timed.
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

    Times and errors are those of the first ``images`` test images of the first data set; the
    formats take turns image by image. int8 is calibrated on each data set's own normal images.
    DatasetError is raised if the first data set has no test image.
    """
    with torch_needed(backbone):
        from backbones.torch_runtime import TorchBackbone
    formats: tuple[Precision, ...] = get_args(Precision)
    records = read_dataset(datasets[0])
    load = partial(load_backbone, backbone, weights=weights, images=normal_images(records))
    networks: dict[str, Backbone] = {name: load(precision=name) for name in formats}
    spec = networks["f32"].spec
    tests = [record.path for record in records if record.split == "test"][:images]
    if not tests:
        raise DatasetError(f"{datasets[0]} has no test images.")
    inputs = np.stack([network_input(path, spec).pixels for path in tests])
    networks = {TORCH: TorchBackbone(spec, weights, "cpu"), **networks}
    errors, single, batched = _compare(networks, inputs, on_progress)
    aurocs: dict[str, tuple[float, ...]] = {
        name: _aurocs(datasets, backbone, weights, name, on_progress) for name in formats
    }
    return [
        PrecisionRow(name, single[name], batched[name], errors[name], aurocs.get(name, ()))
        for name in (TORCH, *formats)
    ]


def precision_table(rows: Sequence[PrecisionRow], datasets: Sequence[Path]) -> str:
    """The rows as Markdown."""
    return page("precision.md", rows=rows, datasets=datasets, torch=TORCH, batch=BATCH).rstrip()


def _compare(
    networks: dict[str, Backbone], inputs: Uint8, on_progress: Progress
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Largest error by name, and median milliseconds of one image, singly and in a batch."""
    single: dict[str, list[float]] = {name: [] for name in networks}
    batched: dict[str, list[float]] = {name: [] for name in networks}
    errors = dict.fromkeys(networks, 0.0)
    for network in networks.values():
        for _ in range(WARM_UP):
            network.embed(inputs[:1])
        network.embed(inputs[:BATCH])
    for done, image in enumerate(inputs, 1):
        for name, network in networks.items():
            elapsed, features = milliseconds(partial(network.embed, image[None]))
            single[name].append(elapsed)
            if name == TORCH:
                wanted = features.patches
                length = np.linalg.norm(wanted, axis=-1)
            error = np.linalg.norm(features.patches - wanted, axis=-1) / length
            errors[name] = max(errors[name], float(error.max()))
        on_progress("comparing", done, len(inputs))
    for start in range(0, len(inputs), BATCH):
        batch = inputs[start : start + BATCH]
        for name, network in networks.items():
            elapsed, _ = milliseconds(partial(network.embed, batch))
            batched[name].append(elapsed / len(batch))
    one, together = ({n: median(took) for n, took in t.items()} for t in (single, batched))
    return errors, one, together


def _aurocs(
    datasets: Sequence[Path],
    backbone: str,
    weights: Path,
    precision: Precision,
    on_progress: Progress,
) -> tuple[float, ...]:
    """Image AUROC of each data set, learnt and scored at the default settings."""
    with tempfile.TemporaryDirectory(prefix="vecspect-") as pictures:
        result = run_benchmark(
            datasets,
            [backbone],
            out=Path(pictures),
            weights={backbone: weights},
            settings=BenchmarkSettings(precision=precision),
            on_progress=named_stages(on_progress, precision),
        )
    return tuple(report.image_auroc for report in result.reports)
