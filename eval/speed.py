"""How long learning and scoring take, beside a plain torch implementation in the same run."""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.base import Precision
from backbones.registry import load_backbone
from eval.baselines.torch_cdist import TorchCdist
from indexer.build import Progress, build_index
from indexer.dataset import DatasetError, read_dataset
from indexer.schema import read_bank
from indexer.store import open_store
from search.calibration import ConformalCalibrator
from search.inspector import Inspector

WARM_UP = 3


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """Seconds of learning by stage, and milliseconds per image from file to verdict and map.

    Attributes:
        ours, rival: (N,) milliseconds of the same images in alternation.
        largest_difference: of the two image scores, relative.
    """

    index_seconds: dict[str, float]
    bank_patches: int
    ours: tuple[float, ...]
    rival: tuple[float, ...]
    largest_difference: float

    @property
    def ratio(self) -> float:
        """Median over images of rival time / our time."""
        return statistics.median(b / a for a, b in zip(self.ours, self.rival, strict=True))


def measure_speed(
    dataset: Path,
    backbone: str,
    weights: Path,
    *,
    images: int = 40,
    coreset: float = 0.1,
    precision: Precision | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> SpeedReport:
    """Learn ``dataset`` in a throw-away store, then score its test images one by one.

    The network is exported beforehand: that happens once in a machine's life.
    """
    network = load_backbone(backbone, weights=weights, precision=precision)
    records = read_dataset(dataset)
    tests = [record.path for record in records if record.split == "test"][: images + WARM_UP]
    if len(tests) <= WARM_UP:
        raise DatasetError(
            f"{dataset} has {len(tests)} test images, more than {WARM_UP} are needed."
        )
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
        build = build_index(
            records,
            category="speed",
            backbone=network,
            store=store,
            calibrator=ConformalCalibrator(),
            coreset=coreset,
            on_progress=on_progress,
        )
        bank = read_bank(store, build.entry)
        inspector = Inspector(store, "speed", network=network)
        rival = TorchCdist(network.spec, weights, bank.vectors)
        ours_ms, rival_ms, differences = [], [], []
        for done, path in enumerate(tests):
            score, milliseconds = _timed(functools.partial(_inspect, inspector, path))
            rival_score, rival_milliseconds = _timed(functools.partial(_rival_score, rival, path))
            if done >= WARM_UP:
                ours_ms.append(milliseconds)
                rival_ms.append(rival_milliseconds)
                differences.append(abs(score - rival_score) / rival_score)
            on_progress("scoring", done + 1, len(tests))
    return SpeedReport(
        build.seconds, len(bank.vectors), tuple(ours_ms), tuple(rival_ms), max(differences)
    )


def percentile(values: tuple[float, ...], percent: float) -> float:
    """Linear percentile of a few timings."""
    return float(np.percentile(values, percent))


def _inspect(inspector: Inspector, path: Path) -> float:
    prediction = inspector.inspect(path)
    prediction.anomaly_map()
    return prediction.score


def _rival_score(rival: TorchCdist, path: Path) -> float:
    return rival.score(path)[0]


def _timed(action: Callable[[], float]) -> tuple[float, float]:
    began = time.perf_counter()
    value = action()
    return value, (time.perf_counter() - began) * 1e3
