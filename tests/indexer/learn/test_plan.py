"""What a build starts from, found out before any work is done."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.calibration.base import CalibrationError, Levels
from indexer.calibration.methods import CalibrationSettings
from indexer.catalog.collections import read_images
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from tests.indexer.world import CountingStore, SilentNetwork, contents, current, learn


def test_second_build_with_the_same_inputs_writes_nothing(
    store: VectorStore, dataset: Path, network: Backbone
) -> None:
    assert learn(store, dataset, network).changed
    before = contents(store)
    counting = CountingStore(store)
    second = learn(counting, dataset, network)
    assert not second.changed
    assert second.entry == current(store).entry
    assert counting.writes == []
    assert contents(store) == before


def test_renamed_image_is_learnt_again_so_that_stored_paths_are_true(
    store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    before = learn(store, own_dataset, network)
    roles = {i.image_id: i.split for i in read_images(before.category).values()}
    (own_dataset / "train/good/000.png").rename(own_dataset / "train/good/zzz.png")
    after = learn(store, own_dataset, network)
    assert after.changed
    images = read_images(after.category).values()
    assert {image.image_id: image.split for image in images} == roles, "a name changed the split"
    assert all(Path(image.path).is_file() for image in images)


def test_moved_data_set_given_by_another_relative_path_changes_nothing(
    learnt: VectorStore, dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.parent)
    assert not learn(learnt, Path(dataset.name), network).changed


def test_same_images_in_another_folder_have_the_same_points(
    learnt: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    with open_store(":memory:") as elsewhere:
        moved = learn(elsewhere, own_dataset, network)
        here, there = current(learnt), moved.category
        assert here.entry.head == there.entry.head
        assert here.entry.build_key != there.entry.build_key
        for collection in here.collections:
            ids = [{point.id for point in c.store.scroll(collection)} for c in (here, there)]
            assert ids[0] == ids[1]


def test_one_normal_image_is_not_enough(
    quick_store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    normal = [r for r in read_dataset(own_dataset) if r.split == "train"]
    twice = [normal[0], replace(normal[0], path=own_dataset / "copy.png")]
    shutil.copy(twice[0].path, twice[1].path)
    for records, came in (([], 0), (normal[:1], 1), (twice, 1)):
        with pytest.raises(DatasetError, match=f"at least 2 different normal .* got {came}"):
            learn(quick_store, records, SilentNetwork(network))
    assert quick_store.collections() == []


@pytest.mark.parametrize(
    ("flag", "value"),
    [("coreset", v) for v in (0, -0.1, 1.01, math.nan)]
    + [("holdout", v) for v in (0, -0.1, 1, math.nan)],
)
def test_share_outside_its_range_is_refused_by_its_name(
    flag: str, value: float, dataset: Path, network: Backbone
) -> None:
    with open_store(":memory:") as store, pytest.raises(DatasetError, match=f"^--{flag} .* got"):
        learn(store, dataset, SilentNetwork(network), **{flag: value})


@pytest.mark.parametrize("levels", [(0.01, None), (None, 0.05), (0.0, None), (0.5, 0.3)])
def test_level_that_the_held_out_images_cannot_support_is_refused_before_any_work(
    quick_store: VectorStore,
    dataset: Path,
    network: Backbone,
    levels: tuple[float | None, float | None],
) -> None:
    counting = CountingStore(quick_store)
    asked = CalibrationSettings(levels=Levels(*levels))
    with pytest.raises(CalibrationError, match=r"^--re(ject|view) ") as caught:
        learn(counting, dataset, SilentNetwork(network), calibration=asked)
    assert "\n" not in str(caught.value)
    assert counting.writes == []
