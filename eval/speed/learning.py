"""Runs one build in a process of its own, so that its peak memory can be measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backbones.base import Backbone, Precision
from backbones.registry import load_backbone
from eval.speed.costs import in_fresh_process, peak_mib
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.store.open import open_store

CATEGORY = "speed"
EVERY = (16, 4, 1)
"""One normal image in so many is learnt, which gives 1, 4 and 16 times the smallest set."""


@dataclass(frozen=True, slots=True)
class Learning:
    """Parameters of a build: the data set, the network, and the share of its patches to choose."""

    dataset: Path
    backbone: str
    weights: Path
    precision: Precision | None
    coreset: float

    def load(self) -> Backbone:
        """Load the network."""
        return load_backbone(self.backbone, weights=self.weights, precision=self.precision)


@dataclass(frozen=True, slots=True)
class Learned:
    """Seconds by stage, and the largest resident memory of the process in MiB."""

    images: int
    bank_patches: int
    seconds: dict[str, float]
    peak_mib: float

    @property
    def total_s(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def learn_sizes(learning: Learning, root: Path, on_progress: Progress) -> list[Learned]:
    """Learn each share in `EVERY` of the normal images, smallest first, below ``root``."""
    learned = []
    for done, every in enumerate(EVERY, 1):
        learned.append(in_fresh_process(_learn, learning, root / str(every), every))
        on_progress("learning", done, len(EVERY))
    return learned


def _learn(learning: Learning, folder: Path, every: int) -> Learned:
    """Learn every ``every``-th normal image into the store at ``folder``."""
    normal = [record for record in read_dataset(learning.dataset) if record.split == "train"]
    with open_store(str(folder)) as store:
        build = build_index(
            normal[::every],
            category=CATEGORY,
            backbone=learning.load(),
            store=store,
            coreset=learning.coreset,
        )
    counts = build.entry.counts
    images = counts["bank_images"] + counts["calibration_images"]
    return Learned(images, counts["bank_patches"], dict(build.seconds), peak_mib())
