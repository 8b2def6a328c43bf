"""The baselines that a benchmark can run beside us, by the name to ask for.

A new baseline takes its class and a row here. The libraries of `eval.baselines.external` are
timed, given our memory bank, in `eval.speed` and have a protocol of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from backbones.base import Backbone
from eval.arrays import Float32
from eval.baselines.brute_force import BruteForce


class Baseline(Protocol):
    """Another way to tell defective images, learnt from the same normal ones."""

    @classmethod
    def fit(cls, backbone: Backbone, normal: Sequence[Path]) -> Self:
        """Learn the ``normal`` images, with the features of ``backbone``."""

    def scores(self, paths: Iterable[Path], upper_bounds: Iterable[Float32]) -> list[float]:
        """Image score of each file, nan where it cannot be read.

        ``upper_bounds``: per file, (H, W) distances to our memory bank, a subset of the patches
        of the normal images, for a baseline that they save time.
        """


@dataclass(frozen=True, slots=True)
class ListedBaseline:
    """A baseline: the title of its figure, its class, and what it is, in a sentence."""

    title: str
    kind: type[Baseline]
    sentence: str


BASELINES: dict[str, ListedBaseline] = {
    "brute-force": ListedBaseline(
        "image AUROC, brute force over all normal patches",
        BruteForce,
        "Plain fp32 search among every normal patch, with no coreset, in the same run.",
    )
}
