"""An earlier revision that comes back as the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.base import Backbone
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.collections import read_bank
from indexer.catalog.commits import read_history
from indexer.catalog.entry import CategoryError
from indexer.store.base import VectorStore
from indexer.update.rollback import rollback
from tests.indexer.world import BANK, CACHED, IMAGES, add, current, learn, remove, state


def test_rollback_gives_back_every_answer_of_that_revision_and_can_be_undone(
    either: VectorStore, network: Backbone, dataset: Path, more: list[Path]
) -> None:
    def content() -> dict[str, Any]:
        found = state(either)
        entry = found.pop("entry")
        # ids of points that came back are new, and so is the order they are read in
        order = np.lexsort(
            (*np.array(found.pop("bank cells")).T, np.array(found.pop("bank image ids")))
        )
        bank = np.frombuffer(found.pop("bank vectors"), np.float32).reshape(len(order), -1)
        del found["image embeddings"]
        distances = {k: d.tobytes() for k, d in read_cached(current(either), "distances")}
        return {
            **found,
            "bank": bank[order].tobytes(),
            "calibration": entry.calibration,
            "counts": entry.counts,
            "distances": distances,
        }

    states = {1: content()}
    remove(either, str(read_bank(current(either)).image_ids[0]))
    states[2] = content()
    add(either, network, more[:3])
    states[3] = content()
    for target in (1, 3, 2, 1):
        rollback(target, category=current(either))
        assert content() == states[target], target
    actions = [entry.action for entry in read_history(current(either))]
    assert actions[:2] == ["learnt grid", actions[1]]
    assert actions[3:] == [f"back to revision {target}" for target in (1, 3, 2, 1)]


def test_revision_that_never_was_is_refused_with_those_that_were(learnt: VectorStore) -> None:
    with pytest.raises(CategoryError, match=r"revision 7 .* Possible: none"):
        rollback(7, category=current(learnt))


def test_learning_again_after_a_change_starts_anew_and_history_goes_on(
    learnt: VectorStore, network: Backbone, dataset: Path, more: list[Path]
) -> None:
    scratch = state(learnt)
    add(learnt, network, more[:2])
    entry = learn(learnt, dataset, network).entry
    assert (entry.revision, entry.origin) == (3, 3)
    assert [old.revision for old in read_history(current(learnt))] == [1, 2, 3]
    again = state(learnt)
    assert again["library"] == scratch["library"]
    assert sorted(again["bank cells"]) == sorted(scratch["bank cells"])
    assert {p.payload["since"] for c in (BANK, IMAGES, CACHED) for p in learnt.scroll(c)} == {3}
    with pytest.raises(CategoryError, match=r"revision 1 .* Possible: none"):
        rollback(1, category=current(learnt))
