"""Cross-conformal prediction: ranks among leave-one-out scores.

Every normal image is measured against a memory bank that knows nothing of it (Vovk 2015; the
jackknife+ of Barber et al. 2021, theorem 1). At worst 2 alpha, usually about alpha. They compare
the new image with each of the n banks; it is measured here against the union of them all, where no
distance is larger, so no p-value smaller.
"""

from __future__ import annotations

from indexer.calibration.conformal import Conformal
from indexer.catalog.entry import LayoutName


class CrossConformal(Conformal):
    """Ranks among leave-one-out scores; the false-reject rate is at most twice alpha."""

    name = "cross-conformal"
    layout: LayoutName = "leave-one-out"
    bound: float | None = 2.0
