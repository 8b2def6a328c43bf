"""One inspector shared by threads, and one that a forked child must not use."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from backbones.errors import VecspectError
from backbones.registry import load_backbone
from indexer.calibration.base import Levels
from indexer.catalog import collections
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.update.levels import change_levels
from search.inspector import Inspector
from tests.indexer.world import learn, queries_of

THREADS = 8


def test_eight_threads_that_share_an_inspector_get_the_answers_of_one(
    learnt: VectorStore, dataset: Path
) -> None:
    queries = queries_of(dataset) * 6
    first = Inspector(learnt, "grid")
    expected = {path: first.inspect(path).to_dict() for path in set(queries)}
    alike = {path: first.similar(path) for path in set(queries)}
    shared = Inspector(learnt, "grid")
    with ThreadPoolExecutor(THREADS) as pool:
        predictions = list(pool.map(shared.inspect, queries))
        neighbors = list(pool.map(shared.similar, queries))
    assert [found.to_dict() for found in predictions] == [expected[path] for path in queries]
    for path, found in zip(queries, neighbors, strict=True):
        assert [n.image_id for n in found] == [n.image_id for n in alike[path]]


def test_threads_that_ask_together_read_the_bank_once(
    learnt: VectorStore, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    together = threading.Barrier(THREADS)

    def counted(name: str, reader: Callable[..., object]) -> Callable[..., object]:
        def count(*values: object) -> object:
            read[name] += 1
            return reader(*values)

        return count

    for reader in ("indexer.scoring.patch_scorer.read_bank", "search.open_revision.read_images"):
        name = reader.rpartition("_")[2]
        original = getattr(collections, f"read_{name}")
        monkeypatch.setattr(reader, counted(name, original))
    shared, query = Inspector(learnt, "grid"), queries_of(dataset)[0]

    def ask(_: int) -> float:
        together.wait()
        return shared.inspect(query).score

    with ThreadPoolExecutor(THREADS) as pool:
        assert len(set(pool.map(ask, range(THREADS)))) == 1
    assert read == {"bank": 1, "images": 1}


def test_threads_that_are_answered_while_a_category_changes_see_one_revision_each(
    learnt: VectorStore, dataset: Path
) -> None:
    shared = Inspector(learnt, "grid")
    queries = queries_of(dataset)[:2] * 8
    with ThreadPoolExecutor(THREADS) as pool:
        asked = [pool.submit(shared.inspect, path) for path in queries]
        category = shared.category
        for level in (0.6, 0.5, 0.7):
            category = change_levels(category, Levels(level, 0.8))
        predictions = [answer.result() for answer in asked]
    assert {found.revision for found in predictions} <= {1, 2, 3, 4}
    assert shared.inspect(queries[0]).revision == 4


def _inspect_in_child(inspector: Inspector, path: Path, answers: Connection) -> None:
    for ask in (inspector.inspect, inspector.features, inspector.similar):
        try:
            answers.send(str(ask(path)))
        except VecspectError as error:
            answers.send(str(error))


@pytest.mark.parametrize("used", [False, True], ids=["opened", "used"])
def test_forked_child_is_told_in_one_line_that_the_store_is_its_parents(
    used: bool, tmp_path: Path, dataset: Path
) -> None:
    with open_store(str(tmp_path / "store")) as store:
        learn(store, dataset, load_backbone("compact"))
        inspector, query = Inspector(store, "grid"), queries_of(dataset)[0]
        if used:
            inspector.inspect(query)
        ours, theirs = multiprocessing.Pipe()
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=_inspect_in_child, args=(inspector, query, theirs))
        child.start()
        try:
            for _ in range(3):
                assert ours.poll(20), "no answer: the child hangs"
                told = ours.recv()
                assert "opened before this process was forked" in told
                assert "\n" not in told
        finally:
            child.kill()
            child.join()
        assert np.isfinite(inspector.inspect(query).score), "the parent goes on"
