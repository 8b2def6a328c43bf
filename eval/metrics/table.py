"""The table of figures that a benchmark prints for a category, by the name they are stored under.

A new metric takes its function, a row here, and a field of that name in
`eval.benchmark.results.CategoryReport`; every table, page and legend follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from eval.arrays import Bool, Float64
from eval.metrics.detection import Rate, average_precision, f1_max, image_auroc
from eval.metrics.pixels import PixelMetrics


@dataclass(frozen=True, slots=True)
class ScoredImages:
    """Scores, verdicts and truth of N test images, and of their pixels if there are masks.

    Arrays (N,): ``defective`` bool, the truth; ``scores`` raw; ``rejected`` bool; ``milliseconds``
    from file to verdict.
    """

    defective: Bool
    scores: Float64
    rejected: Bool
    milliseconds: Float64
    pixels: PixelMetrics = field(default_factory=PixelMetrics)

    def rejected_of(self, chosen: Bool) -> Rate:
        """Rate of rejected images among the ``chosen`` (N,)."""
        return Rate(int(self.rejected[chosen].sum()), int(chosen.sum()))


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of merit: its title, its explanation in a sentence, and its function."""

    title: str
    sentence: str
    function: Callable[[ScoredImages], float | Rate]
    kind: Literal["figure", "rate", "time"] = "figure"
    higher_is_better: bool = True


METRICS: dict[str, Metric] = {
    "image_auroc": Metric(
        "image AUROC",
        "Chance that a defective image scores above a normal one; 0.5 is guessing.",
        lambda images: image_auroc(images.defective, images.scores),
    ),
    "average_precision": Metric(
        "average precision",
        "Area under the precision-recall curve; depends on how many test images are defective.",
        lambda images: average_precision(images.defective, images.scores),
    ),
    "f1_max": Metric(
        "F1-max (oracle)",
        "Best F1 over all thresholds, chosen with the test labels: out of reach in practice.",
        lambda images: f1_max(images.defective, images.scores)[0],
    ),
    "pixel_auroc": Metric(
        "pixel AUROC",
        "The same chance for defective and normal pixels; large defects outweigh small ones.",
        lambda images: images.pixels.pixel_auroc(),
    ),
    "au_pro_30": Metric(
        "AU-PRO 30 %",
        "Share of each defect that is marked, averaged up to 30 % falsely marked pixels.",
        lambda images: images.pixels.au_pro(0.3),
    ),
    "au_pro_5": Metric(
        "AU-PRO 5 %",
        "The same up to 5 % falsely marked pixels: stricter about the outline.",
        lambda images: images.pixels.au_pro(0.05),
    ),
    "false_reject": Metric(
        "false rejects",
        "Share of normal test images that were rejected, with its 95 % interval.",
        lambda images: images.rejected_of(~images.defective),
        "rate",
        higher_is_better=False,
    ),
    "recall": Metric(
        "recall",
        "Share of defective test images that were rejected, with its 95 % interval.",
        lambda images: images.rejected_of(images.defective),
        "rate",
    ),
    "median_ms": Metric(
        "median ms",
        "From file to verdict: half of the images take longer.",
        lambda images: _percentile(images.milliseconds, 50),
        "time",
        higher_is_better=False,
    ),
    "p95_ms": Metric(
        "p95 ms",
        "From file to verdict: one image in 20 takes longer.",
        lambda images: _percentile(images.milliseconds, 95),
        "time",
        higher_is_better=False,
    ),
}


def _percentile(values: Float64, share: float) -> float:
    return float(np.percentile(values, share)) if len(values) else math.nan
