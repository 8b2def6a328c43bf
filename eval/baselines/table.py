"""The table of baselines that a benchmark can run alongside vecspect, by name.

A new baseline takes its class and a row here. The libraries of `eval.baselines.external` are only
timed, on vecspect's memory bank, in `eval.speed` and have a protocol of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from backbones.base import Backbone
from backbones.errors import VecspectError
from eval.arrays import Float32
from eval.baselines.brute_force import BruteForce


class Baseline(Protocol):
    """Another method of anomaly detection, learnt from the same normal images."""

    @classmethod
    def fit(cls, backbone: Backbone, normal: Sequence[Path]) -> Self:
        """Learn the ``normal`` images, with the features of ``backbone``."""

    def scores(self, paths: Iterable[Path], upper_bounds: Iterable[Float32]) -> list[float]:
        """Image score of each file, nan if it cannot be read.

        ``upper_bounds`` holds, per file, (H, W) distances to vecspect's memory bank, a subset of
        the normal patches, for baselines that can save time with them.
        """


@dataclass(frozen=True, slots=True)
class ListedBaseline:
    """A row of the table: the title of the baseline's figure, its class, and a sentence on it."""

    title: str
    kind: type[Baseline]
    sentence: str


BASELINES: dict[str, ListedBaseline] = {
    "brute-force": ListedBaseline(
        "image AUROC, brute force over all normal patches",
        BruteForce,
        "Plain fp32 search among all normal patches, without a coreset, in the same run.",
    )
}


def find_baseline(name: str) -> ListedBaseline:
    """The baseline of that name; VecspectError lists those there are."""
    if name not in BASELINES:
        raise VecspectError(f"unknown baseline '{name}'. Known: {', '.join(BASELINES)}.")
    return BASELINES[name]
