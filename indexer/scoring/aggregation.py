"""Aggregations turn patch distances into the score of an image.

A new one takes an entry in `AGGREGATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A function from patch distances (H, W) to the raw image score, never clamped.

    Attributes:
        name: the name stored with a category.
        sentence: description for people.
    """

    name: str
    sentence: str
    function: Callable[[Float32], float]

    def __call__(self, distances: Float32) -> float:
        """Image score from patch distances (H, W)."""
        return self.function(distances)


def _largest(distances: Float32) -> float:
    return float(distances.max())


AGGREGATIONS: dict[str, Aggregation] = {
    "largest": Aggregation(
        "largest", "The largest patch distance (Roth et al. 2022, equation 6).", _largest
    )
}
DEFAULT_AGGREGATION = AGGREGATIONS["largest"]
