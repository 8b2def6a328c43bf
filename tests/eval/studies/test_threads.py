from __future__ import annotations

from pathlib import Path

import pytest

from eval.studies import threads
from eval.studies.threads import study_threads
from indexer.store.base import VectorStore
from search.inspector import Inspector
from search.prediction import Prediction
from tests.indexer.world import queries_of


def test_study_counts_other_answers_and_errors_and_times_one_two_and_four_threads(
    learnt: VectorStore, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "ROUND", 4)
    monkeypatch.setattr(threads, "ROUNDS", 1)
    inspector = Inspector(learnt, "grid")
    first, *figures = study_threads(inspector, queries_of(dataset)[:3], 24)
    assert first == ("24 calls from 8 threads", "0 other answers, 0 errors")
    assert [name for name, _ in figures] == [
        f"images a second, {count} threads" for count in (1, 2, 4)
    ]
    assert figures[0][1].endswith("(1.00 of one's)")


class Unreliable:
    """Answers otherwise every second time, and fails every third."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector, self._asked = inspector, 0

    def inspect(self, path: Path) -> Prediction:
        self._asked += 1
        if self._asked > 1 and self._asked % 3 == 0:
            raise RuntimeError("busy")
        found = self._inspector.inspect(path)
        if self._asked > 1 and self._asked % 2 == 0:
            object.__setattr__(found, "score", found.score + 1)
        return found


def test_study_of_an_inspector_that_threads_may_not_share_says_so(
    learnt: VectorStore, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "THREADS", 1)
    unreliable = Unreliable(Inspector(learnt, "grid"))
    study = study_threads(unreliable, queries_of(dataset)[:1], 6)  # type: ignore[arg-type]
    told = next(study)[1]
    assert told == "2 other answers, 2 errors; RuntimeError: busy"
