"""Drift detection with a stated false-alarm rate: does the calibration still hold?

Conformal test martingales (Vovk, Gammerman and Shafer 2005, chapter 7; the simple jumper of Vovk et
al. 2021, "Retrain or not retrain"): each new value is ranked among those of the calibration images
and all values since. As long as the images do not change, these ranks are independent and uniform
whatever the distribution, and the capital of a gambler who bets against that has expectation 1 at
all times; by Ville's inequality it reaches 1/rate with probability at most rate. Four values are
watched, each at a quarter of the rate: the score of every image, the score of the images that are
not rejected, the brightness and the sharpness. Betting restarts with every revision and every
``WINDOW`` images, so that the rate holds per window. For a leave-one-out calibration the ranks are
those of a bank with one image less, so that the rate holds approximately.
"""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.decode import QUALITY_STATISTICS
from indexer.calibration.base import DEFAULT_REJECT, Calibration, images_needed
from indexer.calibration.methods import read_calibration
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from indexer.records.drift_window import line_number, read_window

RATE = 0.01
"""Largest probability of a false alarm in a window."""
RECENT = 100
_JUMP = 0.01
_SIGNALS = ("scores", "scores that pass", *QUALITY_STATISTICS)
ALARM = len(_SIGNALS) / RATE
"""Capital at which a watched value raises the alarm."""
_WORDS = {
    "scores": ("more anomalous", "more normal"),
    "scores that pass": ("more anomalous", "more normal"),
    "brightness": ("brighter", "darker"),
    "sharpness": ("sharper", "more blurred"),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One watched value.

    Attributes:
        alarm: true if the capital has reached `ALARM`.
        evidence: the largest capital so far.
        direction: direction in which the values have moved, in a word; empty without an alarm.
        since: time at which the move began, at the lowest capital before the alarm; empty without
            one.
        after: number of images in the window when the alarm was raised; 0 without one.
        shift: mean of the last ``RECENT`` images less that of the calibration images, in deviations
            of the latter.
    """

    name: str
    alarm: bool
    evidence: float
    direction: str
    since: str
    after: int
    shift: float


@dataclass(frozen=True, slots=True)
class Trace:
    """One watched value over the images of a window, with the capital after each image."""

    name: str
    capital: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Drift of a category's last images from its calibration.

    Attributes:
        images: number of images of this revision and window.
        rejected: share of rejected images among these.
        calibration_images: number of calibration images, and the number that a level of 1 % needs.
        age_days: days since the revision was made.
    """

    category: str
    backbone: str
    revision: int
    images: int
    rejected: float
    calibration_images: int
    images_for_one_percent: int
    age_days: float
    signals: tuple[Signal, ...]

    @property
    def alarm(self) -> bool:
        """True if any value has moved."""
        return any(signal.alarm for signal in self.signals)


def check_drift(category: Category) -> DriftReport:
    """The drift report of the images inspected at this revision; quiet if there are none."""
    lines, entry = read_window(category), category.entry
    calibration = read_calibration(entry)
    built = datetime.datetime.fromisoformat(entry.built_at)
    return DriftReport(
        category=entry.category,
        backbone=entry.backbone,
        revision=entry.revision,
        images=len(lines),
        rejected=sum(p["verdict"] == "reject" for p in lines) / max(1, len(lines)),
        calibration_images=calibration.n,
        images_for_one_percent=images_needed(DEFAULT_REJECT),
        age_days=(datetime.datetime.now(datetime.UTC) - built).total_seconds() / 86400,
        signals=drift_signals(calibration, _read_quality(category), lines),
    )


def drift_traces(category: Category) -> list[Trace]:
    """The capital of each watched value, image by image; values without data are left out."""
    lines = read_window(category)
    calibration = read_calibration(category.entry)
    quality = _read_quality(category)
    traces = []
    for name in _SIGNALS:
        reference, _, values = _stream(name, calibration, quality, lines)
        if values:
            capital, _ = betting_capital(reference, values)
            traces.append(Trace(name, tuple(capital.tolist())))
    return traces


def _read_quality(category: Category) -> NDArray[np.float32]:
    """(n, 2) quality statistics of the calibration images."""
    return np.array([found for _, found in read_cached(category, "quality")]).reshape(-1, 2)


def drift_signals(
    calibration: Calibration, quality: NDArray[np.float32], lines: Sequence[Mapping[str, Any]]
) -> tuple[Signal, ...]:
    """The signals of the records of one window.

    Args:
        quality: (n, 2) statistics of the calibration images; may be empty.
        lines: records as `DriftWindow` writes them, oldest first.
    """
    return tuple(_signal(name, calibration, quality, lines) for name in _SIGNALS)


def betting_capital(
    reference: Sequence[float], stream: Sequence[float], *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Capital of the simple jumper after each value of ``stream`` (T,).

    Args:
        reference: earlier values, distributed like those of the stream if nothing has moved.
        seed: seed of the random fractions that break ties; otherwise ties would look like a
            pattern.

    Returns:
        (T,) capital, and (T,) share of it that bets on large values less the share on small ones.
    """
    rng = np.random.default_rng(seed)
    before = sorted(reference)
    large = none = small = 1 / 3
    capital, lean = np.empty(len(stream)), np.empty(len(stream))
    for step, value in enumerate(stream):
        left, right = bisect.bisect_left(before, value), bisect.bisect_right(before, value)
        larger, equal = len(before) - right, right - left + 1
        p_value = (larger + rng.uniform() * equal) / (len(before) + 1)
        before.insert(right, value)
        jumping = _JUMP * (large + none + small) / 3
        large = ((1 - _JUMP) * large + jumping) * (1.5 - p_value)
        none = (1 - _JUMP) * none + jumping
        small = ((1 - _JUMP) * small + jumping) * (0.5 + p_value)
        capital[step] = large + none + small
        lean[step] = (large - small) / capital[step]
    return capital, lean


def _signal(
    name: str,
    calibration: Calibration,
    quality: NDArray[np.float32],
    lines: Sequence[Mapping[str, Any]],
) -> Signal:
    reference, chosen, values = _stream(name, calibration, quality, lines)
    if not values:
        return Signal(name, False, 1.0, "", "", 0, 0.0)
    capital, lean = betting_capital(reference, values)
    alarmed = np.flatnonzero(capital >= ALARM)
    shift = 0.0
    if len(reference) > 1:
        moved = np.mean(values[-RECENT:]) - np.mean(reference)
        shift = float(moved / max(float(np.std(reference, ddof=1)), 1e-9))
    if not len(alarmed):
        return Signal(name, False, float(capital.max()), "", "", 0, shift)
    first = int(alarmed[0])
    began = int(capital[: first + 1].argmin())
    direction = _WORDS[name][0 if lean[first] > 0 else 1]
    since, after = str(chosen[began]["at"]), line_number(chosen[first]) - line_number(lines[0]) + 1
    return Signal(name, True, float(capital.max()), direction, since, after, shift)


def _stream(
    name: str,
    calibration: Calibration,
    quality: NDArray[np.float32],
    lines: Sequence[Mapping[str, Any]],
) -> tuple[list[float], list[Mapping[str, Any]], list[float]]:
    """Calibration values of a signal, the records that have a value, and these values."""
    if name in QUALITY_STATISTICS:
        reference = quality[:, QUALITY_STATISTICS.index(name)].tolist()
        chosen = [line for line in lines if line[name] is not None] if reference else []
        return reference, chosen, [float(line[name]) for line in chosen]
    passing = name == "scores that pass"
    # the threshold is a calibration score; only the scores below it are drawn like those that pass
    reference = [s for s in calibration.scores if not passing or s < calibration.threshold]
    chosen = [line for line in lines if not passing or line["verdict"] != "reject"]
    return reference, chosen, [float(np.float32(line["score"])) for line in chosen]
