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

from backbones.errors import ImageError
from backbones.image_quality import LOOKS, look_of
from indexer.calibration.base import DEFAULT_REJECT, Calibration, images_needed
from indexer.catalog.cached_arrays import read_kept
from indexer.catalog.schema import (
    CatalogEntry,
    health_collection,
    health_point_id,
    patches_collection,
)
from indexer.store.base import Point, VectorStore
from search.prediction import Prediction

WINDOW = 5000
RATE = 0.01
"""Probability at most of a false alarm in a window."""
RECENT = 100
_JUMP = 0.01
_SIGNALS = ("scores", "scores that pass", *LOOKS)
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
class Health:
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


class Watch:
    """Keeps a line about every scored image in the store, the last ``WINDOW`` of a category."""

    def __init__(self, store: VectorStore, entry: CatalogEntry) -> None:
        self._store, self._entry = store, entry
        self._collection = health_collection(entry.category, entry.backbone)
        store.create_collection(self._collection, {}, {"number": "integer"})
        numbers = (_number(point.payload) for point in store.scroll(self._collection))
        self._next = max(numbers, default=-1) + 1

    def record(self, prediction: Prediction) -> None:
        """Keep the p-value, the score and the look of an image just scored."""
        try:
            look = look_of(prediction.path, self._entry.spec).tolist()
        except ImageError:  # gone since it was scored
            look = [None, None]
        payload = {
            "number": self._next,
            "revision": prediction.revision,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "score": prediction.score,
            "p_value": prediction.p_value,
            "verdict": prediction.verdict,
            **dict(zip(LOOKS, look, strict=True)),
        }
        slot = health_point_id(self._entry, self._next % WINDOW)
        self._store.upsert(self._collection, [Point(slot, {}, payload)])
        self._next += 1


def check_health(store: VectorStore, entry: CatalogEntry) -> Health:
    """Judge what ``Watch`` has kept of the entry's revision; without a line, all is quiet."""
    lines = _read_window(store, entry)
    calibration = Calibration.from_payload(entry.calibration)
    built = datetime.datetime.fromisoformat(entry.built_at)
    return Health(
        category=entry.category,
        backbone=entry.backbone,
        revision=entry.revision,
        images=len(lines),
        rejected=sum(p["verdict"] == "reject" for p in lines) / max(1, len(lines)),
        calibration_images=calibration.n,
        images_for_one_percent=images_needed(DEFAULT_REJECT),
        age_days=(datetime.datetime.now(datetime.UTC) - built).total_seconds() / 86400,
        signals=judge(calibration, _read_looks(store, entry), lines),
    )


def health_traces(store: VectorStore, entry: CatalogEntry) -> list[Trace]:
    """How the capital of each watched value went, image by image; those without a line are left."""
    lines = _read_window(store, entry)
    calibration = Calibration.from_payload(entry.calibration)
    looks = _read_looks(store, entry)
    traces = []
    for name in _SIGNALS:
        reference, _, values = _stream(name, calibration, looks, lines)
        if values:
            capital, _ = betting_capital(reference, values)
            traces.append(Trace(name, tuple(capital.tolist())))
    return traces


def _read_window(store: VectorStore, entry: CatalogEntry) -> list[Mapping[str, Any]]:
    """What `Watch` wrote of the entry's revision in the window of now, oldest first."""
    collection = health_collection(entry.category, entry.backbone)
    if collection not in store.collections():
        return []
    points = (point.payload for point in store.scroll(collection))
    lines = sorted((p for p in points if p["revision"] == entry.revision), key=_number)
    return [line for line in lines if _number(line) // WINDOW == _number(lines[-1]) // WINDOW]


def _read_looks(store: VectorStore, entry: CatalogEntry) -> NDArray[np.float32]:
    """(n, 2) of the calibration images; n is 0 where none are kept, see `create_kept`."""
    if patches_collection(entry.category, entry.backbone) not in store.collections():
        return np.zeros((0, 2), np.float32)
    return np.array([look for _, look in read_kept(store, entry, "looks")]).reshape(-1, 2)


def judge(
    calibration: Calibration, looks: NDArray[np.float32], lines: Sequence[Mapping[str, Any]]
) -> tuple[Signal, ...]:
    """What the lines of one window say.

    Args:
        looks: (n, 2) of the calibration images, may be empty.
        lines: as `Watch` writes them, oldest first.
    """
    return tuple(_signal(name, calibration, looks, lines) for name in _SIGNALS)


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
    looks: NDArray[np.float32],
    lines: Sequence[Mapping[str, Any]],
) -> Signal:
    reference, chosen, values = _stream(name, calibration, looks, lines)
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
    since, after = str(chosen[began]["at"]), _number(chosen[first]) - _number(lines[0]) + 1
    return Signal(name, True, float(capital.max()), direction, since, after, shift)


def _stream(
    name: str,
    calibration: Calibration,
    looks: NDArray[np.float32],
    lines: Sequence[Mapping[str, Any]],
) -> tuple[list[float], list[Mapping[str, Any]], list[float]]:
    """Calibration values of a signal, the lines that have one, and theirs."""
    if name in LOOKS:
        reference = looks[:, LOOKS.index(name)].tolist()
        chosen = [line for line in lines if line[name] is not None] if reference else []
        return reference, chosen, [float(line[name]) for line in chosen]
    passing = name == "scores that pass"
    # the threshold is a calibration score; only those below it are drawn like what passes
    reference = [s for s in calibration.scores if not passing or s < calibration.threshold]
    chosen = [line for line in lines if not passing or line["verdict"] != "reject"]
    return reference, chosen, [float(np.float32(line["score"])) for line in chosen]


def _number(payload: Mapping[str, Any]) -> int:
    return int(payload["number"])
