"""The table of calibration methods, and the calibrations they make.

A new method takes a class in a file of its own and an entry in `CALIBRATIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from indexer.calibration.base import (
    SUPPORTED_LEVELS,
    Calibration,
    CalibrationError,
    CalibrationMethod,
    Levels,
    ascending,
    supported_levels,
)
from indexer.calibration.conformal import Conformal
from indexer.calibration.cross_conformal import CrossConformal
from indexer.calibration.sigma import Sigma
from indexer.calibration.synthetic_f1 import SyntheticF1
from indexer.catalog.entry import CatalogEntry

CALIBRATIONS: dict[str, CalibrationMethod] = {
    method.name: method for method in (Conformal(), CrossConformal(), Sigma(), SyntheticF1())
}


def find_calibration(name: str) -> CalibrationMethod:
    """The calibration method of that name; CalibrationError lists those there are."""
    if name not in CALIBRATIONS:
        raise CalibrationError(f"unknown calibration '{name}'. Known: {', '.join(CALIBRATIONS)}.")
    return CALIBRATIONS[name]


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """Settings of a calibration: the name of a method in `CALIBRATIONS`, and the levels."""

    method: str = "conformal"
    levels: Levels = SUPPORTED_LEVELS

    def check(self, images: int) -> None:
        """Raise CalibrationError if ``images`` calibration images cannot support a new category."""
        method = find_calibration(self.method)
        supported_levels(images, method, self.levels)
        method.check(images, None)

    def calibrate(
        self,
        scores: Sequence[float],
        *,
        peaks: Sequence[float] = (),
        synthetic: Sequence[float] = (),
    ) -> Calibration:
        """Calibrate from ``scores`` (n,) of normal images, n >= 1, finite float32 values.

        Raises:
            CalibrationError: n images cannot support a requested level, scores are not finite, or
                the method lacks what it needs.
        """
        method = find_calibration(self.method)
        values = ascending(scores)
        reject, review = supported_levels(len(values), method, self.levels)
        method.check(len(values), len(synthetic))
        return Calibration(
            values,
            reject,
            review,
            method,
            tuple(sorted(peaks)),
            tuple(sorted(synthetic)),
            self.levels,
        )


CONFORMAL = CalibrationSettings()


def settings_of(calibration: Calibration) -> CalibrationSettings:
    """The settings that reproduce the current calibration of a category."""
    return CalibrationSettings(calibration.method.name, calibration.requested)


def read_calibration(entry: CatalogEntry) -> Calibration:
    """The calibration stored in the catalog."""
    return from_payload(entry.calibration)


def to_payload(calibration: Calibration) -> dict[str, Any]:
    """The form of a calibration that is stored in the catalog."""
    return {
        "method": calibration.method.name,
        "scores": list(calibration.scores),
        "peaks": list(calibration.peaks),
        "synthetic": list(calibration.synthetic),
        "requested": asdict(calibration.requested),
        "alpha_reject": calibration.alpha_reject,
        "alpha_review": calibration.alpha_review,
    }


def from_payload(payload: Mapping[str, Any]) -> Calibration:
    """Restore a calibration from its stored form, the inverse of `to_payload`."""
    return Calibration(
        tuple(payload["scores"]),
        payload["alpha_reject"],
        payload["alpha_review"],
        CALIBRATIONS[payload["method"]],
        tuple(payload["peaks"]),
        tuple(payload["synthetic"]),
        Levels(**payload["requested"]),
    )
