"""Cross-conformal prediction: ranks among leave-one-out scores.

Every normal image is measured against a memory bank that was learnt without it (Vovk 2015; the
jackknife+ of Barber et al. 2021, theorem 1). The false-reject rate is at worst 2 alpha, usually
about alpha. The papers compare a new image with each of the n banks; here it is measured against
their union, where no distance is larger and hence no p-value smaller.
"""

from __future__ import annotations

from indexer.calibration.conformal import Conformal
from indexer.catalog.entry import LayoutName


class CrossConformal(Conformal):
    """Ranks among leave-one-out scores; the false-reject rate is at most twice alpha."""

    name = "cross-conformal"
    layout: LayoutName = "leave-one-out"
    bound: float | None = 2.0
