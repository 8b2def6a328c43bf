"""Work that takes longer than a page waits: it runs in a thread and tells how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from backbones.errors import VecspectError
from indexer.progress import Progress, Stage, TimeLeft


class JobStopped(Exception):  # noqa: N818 - nothing went wrong
    """Raised out of a job's progress when somebody asked it to stop."""


class Job:
    """Runs ``work`` in a thread of its own, begun at once.

    Args:
        stages: what they are expected to take, where that is known.

    Attributes:
        stage, done, total: how far the present stage is.
        error: one line if it failed.
        outcome: one line that it ended with.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Progress], str],
        stages: Mapping[str, Stage] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.stage, self.done, self.total = "starting", 0, 1
        self.error = self.outcome = ""
        self._stop = threading.Event()
        self._left = TimeLeft(stages)
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while it has not ended."""
        return self._thread.is_alive()

    @property
    def progress(self) -> str:
        """Progress and remaining time, in words."""
        told = f"{self.stage}: {self.done:,} of {self.total:,}"
        seconds = self._left.seconds(time.monotonic())
        return told if seconds is None else f"{told}, about {duration_text(seconds)} left"

    def stop(self) -> None:
        """Ask it to end after the piece at hand; what is done stays."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.outcome = self._work(self._progress)
        except JobStopped:
            self.outcome = "stopped"
        except (VecspectError, OSError) as error:
            self.error = " ".join(str(error).split())
        except Exception as error:  # a thread has no caller to tell
            self.error = f"{type(error).__name__}: {error}"
            raise

    def _progress(self, stage: str, done: int, total: int) -> None:
        self.stage, self.done, self.total = stage, done, max(total, 1)
        self._left.report(stage, done, total, time.monotonic())
        if self._stop.is_set():
            raise JobStopped


def duration_text(seconds: float) -> str:
    """A duration as people say it: ``12 s``, ``3 min``, ``2 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
