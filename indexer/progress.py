"""Progress of long work, and estimates of the remaining time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Progress = Callable[[str, int, int], None]
"""Callback that is given the stage's name, the steps done and the steps in total."""
_TRUSTED = 0.2
"""Share of a stage after which only its own pace determines the estimate."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Expected duration of a stage.

    Attributes:
        seconds: expected duration, as far as known before it begins.
        paced_by: stages with the same word run at the same pace, so the first of them corrects the
            others.
    """

    seconds: float
    paced_by: Literal["images", "patches", "writing"]


class TimeLeft:
    """Estimate of the remaining seconds of work in stages, from its progress so far.

    The current stage counts with its expected seconds at first and increasingly with its own pace;
    a later one with its expected seconds, corrected by earlier stages with the same ``paced_by``.

    Args:
        stages: expected stages by name, in order. Any other stage counts only with its own pace.
    """

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self._stages = dict(stages)
        self._paces: dict[str, float] = {}
        self._stage = ""
        self._first = self._last = (0.0, 0)
        self._total = 1

    def report(self, stage: str, done: int, total: int, now: float) -> None:
        """Take in a report of a `Progress` at ``now`` seconds."""
        if stage != self._stage:
            self._first = (now, done)
            self._stage = stage
        self._last, self._total = (now, done), max(total, 1)
        expected = self._stages.get(stage)
        if expected and done > self._first[1] and expected.seconds:
            seconds = self._pace() * total
            if expected.paced_by not in self._paces or done / self._total >= _TRUSTED:
                self._paces[expected.paced_by] = seconds / expected.seconds

    def seconds(self, now: float) -> float | None:
        """Seconds left at ``now``; None while nothing is known."""
        ahead = self._ahead()
        at, done = self._last
        missing = self._total - done
        since = now - at if missing else 0.0
        expected = self._stages.get(self._stage)
        if done == self._first[1]:
            if missing and not expected:
                return None
            here = self._expected(self._stage) * missing / self._total
        else:
            trust = min(1.0, done / self._total / _TRUSTED) if expected else 1.0
            prior = self._expected(self._stage) * missing / self._total
            here = trust * self._pace() * missing + (1 - trust) * prior
        return max(0.0, here - since) + ahead

    def _pace(self) -> float:
        """Seconds per step of the current stage, counted from its first report."""
        (began, before), (at, done) = self._first, self._last
        return (at - began) / (done - before)

    def _expected(self, name: str) -> float:
        stage = self._stages.get(name)
        return stage.seconds * self._paces.get(stage.paced_by, 1.0) if stage else 0.0

    def _ahead(self) -> float:
        names = list(self._stages)
        at = names.index(self._stage) + 1 if self._stage in names else 0
        return sum(self._expected(name) for name in names[at:])
