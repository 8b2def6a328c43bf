"""Whether the calibration still holds: an alarm with a stated false-alarm rate.

Conformal test martingales (Vovk, Gammerman and Shafer 2005, chapter 7; the simple jumper of Vovk et
al. 2021, "Retrain or not retrain"): each new value is ranked among the calibration images' and all
values since. While parts stay as they were these ranks are independent and uniform whatever the
distribution, and the capital of one who bets against that has expectation 1 for ever; by Ville's
inequality it reaches 1/rate with probability at most rate.

Four values are watched, each at a quarter of the rate: the score of every image, the score of those
that are not rejected, the brightness, the sharpness. Betting starts anew with every revision and
every ``WINDOW`` images, so the rate holds per window. Of a leave-one-out calibration the ranks are
those of a bank one image smaller, which makes the rate nearly, not exactly, so.
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
"""Probability at most of a false alarm in a window."""
RECENT = 100
_JUMP = 0.01
_SIGNALS = ("scores", "scores that pass", *QUALITY_STATISTICS)
ALARM = len(_SIGNALS) / RATE
"""Capital at which a watched value alarms."""
_WORDS = {
    "scores": ("stranger", "more alike"),
    "scores that pass": ("stranger", "more alike"),
    "brightness": ("brighter", "darker"),
    "sharpness": ("sharper", "more blurred"),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One watched value.

    Attributes:
        alarm: whether the capital has reached what the rate allows.
        evidence: the largest capital so far; an alarm is at `ALARM`.
        direction: which way the values lean, in a word; empty without an alarm.
        since: when the lean began, by the lowest capital before the alarm; empty without one.
        after: images of the window seen when the alarm was raised; 0 without one.
        shift: mean of the last ``RECENT`` images less that of the calibration, in its deviations.
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
    """One watched value over the images of a window: the capital after each."""

    name: str
    capital: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What the last images of a category say of its calibration.

    Attributes:
        images: of this revision and window.
        rejected: share of them.
        calibration_images: and how many a level of 1 % takes.
        age_days: since the revision was made.
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
        """Whether any value has moved."""
        return any(signal.alarm for signal in self.signals)


def check_drift(category: Category) -> DriftReport:
    """What the images inspected at this revision say; without one, all is quiet."""
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
    """How the capital of each watched value went, image by image; without a value there is none."""
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
    """What the lines of one window say.

    Args:
        quality: (n, 2) of the calibration images, may be empty.
        lines: as `DriftWindow` writes them, oldest first.
    """
    return tuple(_signal(name, calibration, quality, lines) for name in _SIGNALS)


def betting_capital(
    reference: Sequence[float], stream: Sequence[float], *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Capital of the simple jumper after each value of ``stream`` (T,).

    Args:
        reference: values that came before and are like those to come, if nothing moved.
        seed: of the fractions that break ties; without them ties would look like a pattern.

    Returns:
        (T,) capital, and (T,) share of it that bets on large values less that on small ones.
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
    """Calibration values of a signal, the lines that have one, and theirs."""
    if name in QUALITY_STATISTICS:
        reference = quality[:, QUALITY_STATISTICS.index(name)].tolist()
        chosen = [line for line in lines if line[name] is not None] if reference else []
        return reference, chosen, [float(line[name]) for line in chosen]
    passing = name == "scores that pass"
    # the threshold is a calibration score; only those below it are drawn like what passes
    reference = [s for s in calibration.scores if not passing or s < calibration.threshold]
    chosen = [line for line in lines if not passing or line["verdict"] != "reject"]
    return reference, chosen, [float(np.float32(line["score"])) for line in chosen]
