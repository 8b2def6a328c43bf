"""Heads and commit points: one of two changes is done, and what was done stays on record."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbones.specs import find_spec
from indexer.catalog.category import Category
from indexer.catalog.collections import create_collections, read_images
from indexer.catalog.commits import (
    check_schema,
    commit,
    create_catalog,
    current_entry,
    find_category,
    is_current,
    read_catalog,
    read_history,
)
from indexer.catalog.entry import CategoryError
from indexer.catalog.schema import CATALOG, SCHEMA_VERSION
from indexer.store.base import Point, VectorStore
from indexer.store.open import open_store
from indexer.update.insertion import add_images
from indexer.update.removal import quarantine_image, remove_images
from indexer.update.rollback import rollback
from tests.indexer.world import (
    KEY,
    CountingStore,
    FakeImageLevel,
    a_category,
    add,
    an_entry,
    by_split,
    current,
    learn,
    remove,
)


@pytest.fixture
def store() -> Iterator[VectorStore]:
    with open_store(":memory:") as opened:
        yield opened


@pytest.fixture
def first(store: VectorStore) -> Category:
    """A committed first revision."""
    category = a_category(store)
    commit(category)
    return category


@pytest.fixture
def small(store: VectorStore, dataset: Path) -> VectorStore:
    """A store that has learnt the data set by whole images, which takes no time."""
    learn(store, dataset, FakeImageLevel())
    return store


def commit_points(store: VectorStore) -> dict[str, dict[str, Any]]:
    return {point.id: dict(point.payload) for point in store.scroll(CATALOG)}


def everything(store: VectorStore) -> dict[str, dict[str, dict[str, Any]]]:
    """Payload of every point there is, by collection and id, and the heads."""
    found = {
        name: {point.id: dict(point.payload) for point in store.scroll(name)}
        for name in store.collections()
    }
    return {**found, "head": {"of": dict(store.heads())}}


def test_committed_revision_is_the_one_that_readers_find(
    store: VectorStore, first: Category
) -> None:
    assert (store.head(KEY), current(store).entry) == (first.entry.head, first.entry)
    after = first.following("add", ["a"], action="added one")
    assert is_current(first)
    assert not is_current(after)
    commit(after)
    assert (is_current(first), is_current(after)) == (False, True)
    assert current(store).entry == current_entry(store, "grid", "compact") == after.entry


def test_second_commit_planned_from_the_same_head_is_refused_and_leaves_the_first_intact(
    store: VectorStore, first: Category
) -> None:
    winner, loser = first.following("add", ["a"]), first.following("add", ["b"])
    commit(winner)
    before = everything(store)
    with pytest.raises(CategoryError, match="changed by another process since") as caught:
        commit(loser)
    assert "\n" not in str(caught.value)
    assert everything(store) == before
    assert [entry.head for entry in read_history(current(store))] == [
        first.entry.head,
        winner.entry.head,
    ]


def test_commit_that_another_one_overtakes_at_the_last_moment_is_refused(
    store: VectorStore, first: Category
) -> None:
    winner = first.following("add", ["a"])

    def overtake(write: str) -> None:
        if write == f"upsert {CATALOG}":
            commit(winner)

    slow = Category(CountingStore(store, overtake), first.entry)
    with pytest.raises(CategoryError, match="changed by another process since"):
        commit(slow.following("add", ["b"]))
    assert current(store).entry == winner.entry


def test_two_first_revisions_of_one_category_are_not_both_learnt(store: VectorStore) -> None:
    one, other = a_category(store), a_category(store, attempt="another")
    commit(one)
    with pytest.raises(CategoryError, match="changed by another process since"):
        commit(other)
    assert current(store).entry == one.entry


def test_change_planned_from_a_revision_that_was_replaced_is_refused_before_it_touches_anything(
    small: VectorStore,
) -> None:
    stale = current(small)
    bank, held_out = by_split(stale, "bank"), by_split(stale, "calibration")
    remove(small, bank[0].image_id)
    before = everything(small)
    gone = Path(bank[0].path)
    changes: tuple[Callable[[], object], ...] = (
        lambda: add_images([gone], category=stale, backbone=FakeImageLevel()),
        lambda: remove_images([held_out[0].image_id], category=stale),
        lambda: quarantine_image(bank[1].image_id, category=stale),
    )
    for change in changes:
        with pytest.raises(CategoryError, match="changed by another process since") as caught:
            change()
        assert "\n" not in str(caught.value)
        assert everything(small) == before


def test_commit_points_are_never_written_again(small: VectorStore, dataset: Path) -> None:
    seen: dict[str, dict[str, Any]] = commit_points(small)

    def check() -> None:
        now = commit_points(small)
        assert {key: now[key] for key in seen} == seen
        assert len(now) == len(seen) + 1, "one a change"
        seen.update(now)

    remove(small, by_split(current(small), "bank")[0].image_id)
    check()
    add(small, FakeImageLevel(), sorted(dataset.glob("train/good/*")))
    check()
    rollback(1, category=current(small))
    check()
    learn(small, dataset, FakeImageLevel(), holdout=0.4)
    check()


def test_history_is_the_chain_of_parents_across_learning_anew_and_rollback(
    small: VectorStore, dataset: Path
) -> None:
    remove(small, by_split(current(small), "bank")[0].image_id)
    learn(small, dataset, FakeImageLevel(), holdout=0.4)
    remove(small, by_split(current(small), "bank")[0].image_id)
    rollback(3, category=current(small))
    history = read_history(current(small))
    assert [entry.revision for entry in history] == [1, 2, 3, 4, 5]
    assert [entry.origin for entry in history] == [1, 1, 3, 3, 3]
    assert [entry.action for entry in history] == [
        "learnt grid",
        "removed 1 image",
        "learnt grid",
        "removed 1 image",
        "back to revision 3",
    ]
    assert history[0].parent == ""
    for parent, child in itertools.pairwise(history):
        assert child.parent == parent.head
    assert history[-1] == current(small).entry
    with pytest.raises(CategoryError, match="Possible: 3, 4"):
        rollback(1, category=current(small))


def test_attempt_that_never_committed_is_in_no_history(store: VectorStore, first: Category) -> None:
    cut_off = first.following("add", ["cut off"])
    described = {"category": "grid", "backbone": "compact", "entry": cut_off.entry.to_text()}
    store.upsert(CATALOG, [Point(cut_off.point_id("commit"), {}, described)])
    commit(first.following("add", ["a"]))
    heads = [entry.head for entry in read_history(current(store))]
    assert len(heads) == 2
    assert cut_off.entry.head not in heads


def test_same_change_again_from_the_same_head_has_the_same_attempt(dataset: Path) -> None:
    def heads() -> list[str]:
        with open_store(":memory:") as store:
            learn(store, dataset, FakeImageLevel())
            remove(store, by_split(current(store), "bank")[0].image_id)
            return [entry.head for entry in read_history(current(store))]

    assert heads() == heads()


def test_history_before_is_that_of_a_reader_who_stays_at_an_old_revision(
    first: Category,
) -> None:
    commit(first.following("add", ["a"]))
    assert read_history(first) == [first.entry]


def test_categories_are_listed_by_name_and_backbone_and_keep_apart(store: VectorStore) -> None:
    pairs = [("tile", "compact"), ("grid", "vgg16"), ("grid", "compact")]
    for name, backbone in pairs:
        entry = an_entry(category=name, backbone=backbone, spec=find_spec(backbone))
        category = Category(store, entry)
        create_collections(category)
        commit(category)
    assert [(c.name, c.backbone) for c in read_catalog(store)] == sorted(pairs)
    assert find_category(store, "tile").backbone == "compact"
    assert find_category(store, "grid", "vgg16").spec == find_spec("vgg16")
    assert current_entry(store, "tile", "vgg16") is None
    with pytest.raises(CategoryError, match=r"indexed with compact, vgg16: choose one") as caught:
        find_category(store, "grid")
    assert "\n" not in str(caught.value)
    with pytest.raises(CategoryError, match=r"no category 'gird' .*known: grid, tile"):
        find_category(store, "gird")
    with pytest.raises(CategoryError, match=r"--backbone, not 'compact-2'"):
        find_category(store, "grid", "compact-2")


def test_layers_of_a_timm_network_need_not_be_named(store: VectorStore) -> None:
    backbone = "timm:resnet18:layer2,layer3"
    spec = replace(find_spec("compact"), name=backbone)
    category = Category(store, an_entry(backbone=backbone, spec=spec))
    create_collections(category)
    commit(category)
    assert find_category(store, "grid", "timm:resnet18").backbone == backbone
    assert is_current(category)


def test_store_without_a_category_says_how_to_learn_one(store: VectorStore) -> None:
    assert read_catalog(store) == []
    with pytest.raises(CategoryError, match=r"known: none yet.*vecspect index DATASET"):
        find_category(store, "grid")


@pytest.mark.parametrize("version", [None, 0, SCHEMA_VERSION + 1])
def test_store_of_another_schema_version_is_refused_naming_the_command(
    store: VectorStore, first: Category, version: int | None
) -> None:
    (mark,) = (point.id for point in store.scroll(CATALOG) if "schema_version" in point.payload)
    store.set_payload(CATALOG, [mark], {"schema_version": version})
    if version is None:  # as in stores of before there were versions
        store.delete_collection(CATALOG)
        store.create_collection(CATALOG, {}, {})
    reads = (read_catalog, check_schema, create_catalog, lambda s: find_category(s, "grid"))
    for read in reads:
        with pytest.raises(CategoryError) as caught:
            read(store)
        message = str(caught.value)
        expected = "none" if version is None else str(version)
        assert f"(schema {expected}, expected {SCHEMA_VERSION})" in message
        assert "vecspect index DATASET --category NAME --store NEW" in message
        assert "\n" not in message


def test_catalog_is_made_once_and_marked_with_its_version(store: VectorStore) -> None:
    create_catalog(store)
    counting = CountingStore(store)
    create_catalog(counting)
    assert counting.writes == []
    assert [dict(point.payload) for point in store.scroll(CATALOG)] == [
        {"schema_version": SCHEMA_VERSION}
    ]


def test_only_collections_that_changed_are_flushed_and_the_head_moves_last(
    store: VectorStore, first: Category
) -> None:
    counting = CountingStore(store)
    planned = Category(counting, first.entry)
    commit(planned.following("label", []), [first.images])
    assert counting.writes == [
        f"upsert {CATALOG}",
        f"flush {first.images}",
        f"flush {CATALOG}",
        f"move_head {KEY}",
    ]
    assert read_images(current(store)) == {}
