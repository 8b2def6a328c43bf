"""Verifies that a network has its published weights, and measures its time per image."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from backbones.base import Backbone
from backbones.specs import SPECS
from backbones.verification.canonical import (
    CANONICAL,
    Canonical,
    canonical_vector,
    patches_of_picture,
)
from backbones.weights import sha256_of

TOLERANCE = 0.005
"""Largest allowed difference, as a share of the largest canonical value; half-precision files
pass."""
RUNS = 10


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of a network on the picture, with everything known about its published weights.

    Attributes:
        vector: ten evenly spaced values of the patch embedding in the middle.
        expected: the canonical vector; None if none is known.
        names: names of the files in which the weights are published.
        published: the one of these files whose digest equals that of the weights.
    """

    name: str
    vector: tuple[float, ...]
    expected: Canonical | None
    names: tuple[str, ...]
    published: str | None

    @property
    def difference(self) -> float | None:
        """Largest difference, as a share of the largest expected value."""
        if self.expected is None:
            return None
        wanted = np.array(self.expected.vector)
        return float(np.abs(np.array(self.vector) - wanted).max() / np.abs(wanted).max())

    @property
    def right(self) -> bool | None:
        """True if the weights are the published ones; None if that cannot be told."""
        if self.difference is not None:
            return self.difference <= TOLERANCE
        return True if self.published else None


def verify(backbone: Backbone) -> Verification:
    """Run the network on the picture, and compare with its canonical vector and file digests."""
    spec, source = backbone.spec, backbone.source
    digest = sha256_of(source) if source and source.is_file() else ""
    begins = {name: name.rpartition("-")[2].partition(".")[0] for name in spec.published}
    same = (name for name, begin in begins.items() if digest.startswith(begin))
    return Verification(
        spec.name,
        canonical_vector(backbone),
        CANONICAL.get(spec.name) if spec in SPECS else None,  # another size gives another vector
        spec.published,
        next(same, None),
    )


def median_ms(backbone: Backbone) -> float:
    """Median milliseconds from one image file to its embeddings, after a warm-up."""
    patches_of_picture(backbone)
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        patches_of_picture(backbone)
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)
