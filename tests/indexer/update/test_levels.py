"""Another calibration by what is stored: a revision of its own, without an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.calibration.base import CalibrationError, Levels
from indexer.calibration.methods import read_calibration
from indexer.catalog.commits import read_history
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.update.levels import change_levels, check_method
from indexer.update.rollback import rollback
from indexer.update.synthetic_defects import add_synthetic_defects
from tests.indexer.world import KEY, CountingStore, add, current, few, learn, state


@pytest.fixture
def small(network: Backbone, dataset: Path) -> Iterator[VectorStore]:
    """A store that has learnt a few images, two of which calibrate."""
    with open_store(":memory:") as store:
        learn(store, few(dataset), network, holdout=0.4)
        yield store


def test_other_levels_are_a_revision_that_changes_nothing_else(small: VectorStore) -> None:
    before = state(small)
    after = change_levels(current(small), Levels(0.4, 0.6))
    assert after.entry == current(small).entry
    now = state(small)
    old, new = before.pop("entry"), now.pop("entry")
    assert now == before
    assert (new.revision, new.parent, new.action) == (2, old.head, "conformal at 0.4 and 0.6")
    assert (new.build_key, new.built_at, new.counts) == (old.build_key, "", old.counts)
    calibration, first = read_calibration(new), read_calibration(old)
    assert (calibration.alpha_reject, calibration.alpha_review) == (0.4, 0.6)
    assert calibration.requested == Levels(0.4, 0.6)
    assert (calibration.scores, calibration.peaks) == (first.scores, first.peaks)


def test_only_the_catalog_and_the_head_are_written(small: VectorStore) -> None:
    counting = CountingStore(small)
    change_levels(current(counting), Levels(0.4, 0.6))
    assert counting.writes == ["upsert catalog", "flush catalog", f"move_head {KEY}"]


def test_levels_in_force_already_write_nothing(small: VectorStore) -> None:
    counting = CountingStore(small)
    category = current(counting)
    now = read_calibration(category.entry)
    assert change_levels(category, Levels()) is category
    assert change_levels(category, Levels(now.alpha_reject, now.alpha_review)) is category
    assert counting.writes == []


def test_level_that_the_images_cannot_support_is_refused_and_nothing_changes(
    small: VectorStore,
) -> None:
    counting = CountingStore(small)
    with pytest.raises(CalibrationError, match=r"^--reject 0\.01 needs at least 99 calibration"):
        change_levels(current(counting), Levels(0.01))
    assert counting.writes == []


def test_same_data_set_again_after_another_level_is_still_the_same_build(
    small: VectorStore, network: Backbone, dataset: Path
) -> None:
    changed = change_levels(current(small), Levels(0.4, 0.6))
    again = learn(small, few(dataset), network, holdout=0.4)
    assert (again.changed, again.entry) == (False, changed.entry)


def test_method_that_bounds_nothing_takes_any_category_and_one_that_does_its_own_layout(
    small: VectorStore, network: Backbone, dataset: Path
) -> None:
    entry = current(small).entry
    for method in ("conformal", "sigma", "synthetic-f1"):
        check_method(entry, method)
    message = "cross-conformal needs a category learnt for it: .* divided by holdout"
    with pytest.raises(CalibrationError, match=message) as caught:
        change_levels(current(small), Levels(), "cross-conformal")
    assert "\n" not in str(caught.value)
    left_out = learn(small, few(dataset), network, "cross-conformal").entry
    with pytest.raises(CalibrationError, match="divided by leave-one-out"):
        check_method(left_out, "conformal")
    check_method(left_out, "cross-conformal")


def test_method_and_levels_live_on_in_later_changes_and_a_rollback_takes_them_back(
    small: VectorStore, network: Backbone, more: list[Path]
) -> None:
    first = read_calibration(current(small).entry)
    change_levels(current(small), Levels(0.4, 0.6), "sigma")
    later = read_calibration(add(small, network, more[:4]).entry)
    assert (later.method.name, later.requested) == ("sigma", Levels(0.4, 0.6))
    assert later.n > first.n
    assert read_calibration(rollback(1, category=current(small)).entry) == first
    actions = [entry.action for entry in read_history(current(small))]
    assert actions[1] == "sigma at 0.4 and 0.6"


def test_threshold_of_best_f1_takes_synthetic_defects(
    small: VectorStore, network: Backbone
) -> None:
    with pytest.raises(CalibrationError, match="needs the scores of synthetic defects"):
        change_levels(current(small), Levels(), "synthetic-f1")
    before = add_synthetic_defects(category=current(small), backbone=network)
    after = change_levels(before, Levels(), "synthetic-f1")
    assert read_calibration(after.entry).method.name == "synthetic-f1"
    assert read_calibration(after.entry).synthetic == read_calibration(before.entry).synthetic
