"""Images that leave a learnt category, and those set aside in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.calibration.base import Levels
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.entry import CategoryError
from indexer.store.base import VectorStore
from indexer.update.change import Change
from indexer.update.levels import change_levels
from search.inspector import Inspector
from tests.indexer.world import by_split, contents, current, quarantine, queries_of, remove, state


def shown(store: VectorStore, network: Backbone, queries: list[Path]) -> set[str]:
    """Every image that a score, a neighbour or a piece of evidence comes from."""
    inspector = Inspector(store, "grid", network=network)
    ids = {inspector.inspect(query).evidence.image_id for query in queries}
    return ids | {n.image_id for query in queries for n in inspector.similar(query, top=1000)}


@pytest.mark.parametrize("leave", [remove, quarantine])
def test_image_that_left_is_never_shown_again_and_its_patches_calibrate_nothing(
    either: VectorStore, network: Backbone, dataset: Path, leave: Callable[..., Change]
) -> None:
    queries = queries_of(dataset)[:6]
    before = Inspector(either, "grid", network=network)
    gone = before.inspect(queries[0]).evidence.image_id
    change = leave(either, gone)
    assert change.patches < 0
    evidence = {
        Inspector(either, "grid", network=network).inspect(query).evidence.image_id
        for query in queries
    }
    assert gone not in evidence
    assert gone not in read_bank(change.category).image_ids
    assert gone not in dict(read_cached(change.category, "distances"))
    if leave is remove:
        assert gone not in shown(either, network, queries)
        assert gone not in read_images(change.category)
    else:
        assert read_images(change.category)[gone].split == "quarantined"


def test_running_inspector_answers_with_the_new_revision(
    either: VectorStore, network: Backbone, dataset: Path
) -> None:
    query = queries_of(dataset)[0]
    inspector = Inspector(either, "grid", network=network)
    gone = inspector.inspect(query).evidence.image_id
    remove(either, gone)
    prediction = inspector.inspect(query)
    assert (prediction.revision, prediction.evidence.image_id != gone) == (2, True)
    fresh = Inspector(either, "grid", network=network).inspect(query)
    assert prediction.to_dict() == fresh.to_dict()
    change_levels(current(either), Levels(0.6, 0.7))
    assert inspector.inspect(query).threshold < prediction.threshold


def test_unknown_id_and_the_last_images_are_refused_and_nothing_changes(
    learnt: VectorStore,
) -> None:
    before = contents(learnt)
    with pytest.raises(CategoryError, match="no image nobody in the library"):
        remove(learnt, "nobody")
    normal = [image.image_id for image in by_split(current(learnt), "bank")]
    with pytest.raises(CategoryError, match="at least 1 of its bank images, 0 would be left"):
        remove(learnt, *normal)
    assert state(learnt).items() <= before.items()
    remove(learnt, normal[0])
    assert current(learnt).entry.counts["bank_images"] == len(normal) - 1


def test_image_in_quarantine_is_not_set_aside_again_and_may_leave(learnt: VectorStore) -> None:
    aside = by_split(current(learnt), "bank")[0].image_id
    patches = quarantine(learnt, aside).patches
    assert patches < 0
    with pytest.raises(CategoryError, match=f"image {aside} is already in quarantine"):
        quarantine(learnt, aside)
    counts = current(learnt).entry.counts
    change = remove(learnt, aside)
    assert (change.patches, change.entry.counts) == (0, counts), "it counted for nothing any more"
    assert aside not in read_images(change.category)


def test_several_images_leave_as_one_revision_and_are_counted_by_role(learnt: VectorStore) -> None:
    before = current(learnt)
    bank, test = by_split(before, "bank")[:2], by_split(before, "test")[0]
    own = [image.image_id for image in [*bank, test]]
    patches = sum(str(key) in own for key in read_bank(before).image_ids)
    change = remove(learnt, *own)
    assert (change.images, change.patches) == (tuple(own), -patches)
    assert change.entry.revision == 2
    assert change.entry.action == f"removed 3 images, {patches} patches"
    lost = {"bank_images": 2, "test_images": 1, "bank_patches": patches, "calibration_images": 0}
    for name, number in lost.items():
        assert change.entry.counts[name] == before.entry.counts[name] - number, name
    assert len(read_images(change.category)) == len(read_images(before)) - 3
