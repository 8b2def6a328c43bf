"""Study of threads that share one inspector: the correctness of their answers, and their speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from indexer.progress import Progress
from search.inspector import Inspector

THREADS = 8
ROUNDS = 5
ROUND = 200
"""Images that are timed with each number of threads in a round."""


def study_threads(
    inspector: Inspector,
    paths: Sequence[Path],
    calls: int,
    on_progress: Progress = lambda stage, done, total: None,
) -> Iterator[tuple[str, str]]:
    """Measurements with their figures: wrong answers among ``calls``, images per second by threads.

    Args:
        paths: images that can be read, scored again and again.
    """
    expected = {path: inspector.inspect(path).to_dict() for path in paths}
    wrong, errors = 0, []

    def ask(path: Path) -> bool | str:
        try:
            return inspector.inspect(path).to_dict() == expected[path]
        except Exception as error:  # the study counts them, of whatever kind
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(ask, islice(cycle(paths), calls))
        for done, answer in enumerate(answers, 1):
            on_progress("calls", done, calls)
            if isinstance(answer, str):
                errors.append(answer)
            else:
                wrong += not answer
    found = f"{wrong} other answers, {len(errors)} errors"
    yield f"{calls} calls from {THREADS} threads", "; ".join([found, *errors[:1]])
    rates = _rates(inspector, paths, on_progress)
    for threads, rate in rates.items():
        yield f"images a second, {threads} threads", f"{rate:.1f} ({rate / rates[1]:.2f} of one's)"


def _rates(inspector: Inspector, paths: Sequence[Path], on_progress: Progress) -> dict[int, float]:
    """Median images a second by number of threads, which take turns round by round."""
    images = list(islice(cycle(paths), ROUND))
    rates: dict[int, list[float]] = {1: [], 2: [], 4: []}
    for done in range(ROUNDS):
        on_progress("rates", done, ROUNDS)
        for threads, seen in rates.items():
            with ThreadPoolExecutor(threads) as pool:
                began = time.perf_counter()
                list(pool.map(inspector.inspect, images))
                seen.append(len(images) / (time.perf_counter() - began))
    on_progress("rates", ROUNDS, ROUNDS)
    return {threads: statistics.median(seen) for threads, seen in rates.items()}
