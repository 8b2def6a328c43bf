"""Expected durations of the stages of a build, before it begins."""

from __future__ import annotations

from collections.abc import Mapping

from backbones.base import BackboneSpec
from indexer.bank.coreset import expected_seconds
from indexer.bank.layout import held_out
from indexer.progress import Stage

_IMAGE = 0.02
"""Assumed seconds per image in the network until the first one is measured; only ratios matter."""
_MEASURED, _SCORED, _WRITTEN = 2.5, 1.3, 1.2e-4
"""Times that of the network for an image that calibrates and for one that is scored; seconds to
write a patch. Measured on 64 and 194 bank images, at coresets of 1 % and 10 %."""


def build_stages(
    *, normal: int, tests: int, spec: BackboneSpec, coreset: float, holdout: float
) -> Mapping[str, Stage]:
    """The stages of learning so many images with held-out calibration, see `build_index`.

    Args:
        normal: training images. tests: images added to the library.
    """
    calibrating = held_out(normal, holdout)
    bank = normal - calibrating
    stages = {
        "embedding": Stage(bank * _IMAGE, "images"),
        "calibration": Stage(calibrating * _IMAGE * _MEASURED, "images"),
        "library": Stage(tests * _IMAGE * _SCORED, "images"),
    }
    if spec.normalised:
        stages = {"channels": Stage(bank * _IMAGE, "images"), **stages}
    if spec.level == "image":
        return stages
    rows, columns = spec.grid
    patches = bank * rows * columns
    chosen = round(coreset * patches)
    choosing = Stage(expected_seconds(patches, chosen), "patches")
    order = [*stages, "writing"]
    order.insert(order.index("calibration"), "coreset")
    known = {**stages, "coreset": choosing, "writing": Stage(chosen * _WRITTEN, "writing")}
    return {name: known[name] for name in order}
