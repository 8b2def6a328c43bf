"""One build in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backbones.base import Precision
from backbones.registry import load_backbone
from indexer.data.image_records import read_dataset
from indexer.learn.build import build_index
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator

CATEGORY = "speed"


@dataclass(frozen=True, slots=True)
class Job:
    """What to learn: every ``every``-th normal image, into the store at ``folder``."""

    dataset: Path
    backbone: str
    weights: Path
    precision: Precision | None
    coreset: float
    folder: Path
    every: int


@dataclass(frozen=True, slots=True)
class Learned:
    """Seconds by stage, and the largest resident memory of the process in MiB."""

    images: int
    bank_patches: int
    seconds: dict[str, float]
    peak_mib: float


def learn_alone(job: Job) -> Learned:
    """Run the job in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_learn, job).result()


def _learn(job: Job) -> Learned:
    network = load_backbone(job.backbone, weights=job.weights, precision=job.precision)
    normal = [record for record in read_dataset(job.dataset) if record.split == "train"]
    with open_store(str(job.folder)) as store:
        build = build_index(
            normal[:: job.every],
            category=CATEGORY,
            backbone=network,
            store=store,
            calibrator=ConformalCalibrator(),
            coreset=job.coreset,
        )
    counts = build.entry.counts
    return Learned(
        counts["bank_images"] + counts["calibration_images"],
        counts["bank_patches"],
        build.seconds,
        peak_mib(),
    )


def peak_mib() -> float:
    """The largest resident memory of this process so far; mapped files count."""
    # not getrusage: its figure is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
