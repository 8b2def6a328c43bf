"""What a build leaves in the store: whatever happens on the way, one whole revision.

Run as a program, this file is the process that dies in the middle of a build.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backbones.base import Backbone
from backbones.registry import load_backbone
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import read_catalog
from indexer.catalog.entry import CategoryError
from indexer.catalog.schema import CATALOG
from indexer.data.dataset import read_dataset
from indexer.store.base import VectorStore
from indexer.store.edge_files import copy_store
from indexer.store.open import open_store
from tests.indexer.world import (
    BANK,
    CACHED,
    DEFECTS,
    IMAGES,
    THE_COMMIT,
    CountingStore,
    SilentNetwork,
    contents,
    current,
    dying_at,
    few,
    killed,
    learn,
    state,
)

MOMENTS_BEFORE_THE_COMMIT = (
    "embedding",
    "coreset",
    "calibration",
    "writing",
    f"upsert {BANK}",
    f"upsert {IMAGES}",
    f"upsert {CACHED}",
    f"upsert {DEFECTS}",
    f"upsert {CATALOG}",
)


@dataclass(frozen=True)
class Calm:
    """What uninterrupted builds of a few images leave: revision 1 (seed 0), then 2 (seed 1)."""

    first_folder: Path
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def calm(dataset: Path, network: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm") / "store"
    found = []
    for seed in (0, 1):
        with open_store(str(folder)) as store:
            learn(store, few(dataset), network, seed=seed)
            found.append(contents(store))
        if seed == 0:
            first_folder = copy_store(folder, folder.with_name("first"))
    return Calm(first_folder, *found)


@pytest.mark.parametrize("options", [{"seed": 1}, {"coreset": 0.03}, {"holdout": 0.4}])
def test_other_inputs_make_a_new_revision_and_leave_nothing_of_the_old(
    learnt: VectorStore, dataset: Path, network: Backbone, options: dict[str, float]
) -> None:
    build = learn(learnt, dataset, network, **options)
    assert (build.changed, build.entry.revision) == (True, 2)
    for name in (BANK, IMAGES):
        assert {point.payload["since"] for point in learnt.scroll(name)} == {2}
    assert len(read_catalog(learnt)) == 1


def test_same_inputs_give_the_same_bytes_in_every_store(
    learnt: VectorStore, dataset: Path, network: Backbone
) -> None:
    with open_store(":memory:") as memory:
        learn(memory, dataset, network)
        here, there = state(memory), state(learnt)
    # the engines normalise the image embeddings each in its own arithmetic
    del here["image embeddings"], there["image embeddings"]
    assert here == there


@pytest.mark.parametrize("moment", MOMENTS_BEFORE_THE_COMMIT)
def test_killed_build_leaves_the_revision_before_and_runs_again_as_if_nothing_happened(
    calm: Calm, dataset: Path, network: Backbone, tmp_path: Path, moment: str
) -> None:
    folder = copy_store(calm.first_folder, tmp_path / "killed")
    assert killed(__file__, folder, dataset, moment)
    with open_store(str(folder)) as survivor:
        assert state(survivor).items() <= calm.first.items()
        assert learn(survivor, few(dataset), network, seed=1).changed
        assert contents(survivor) == calm.second


def test_build_killed_between_commit_and_clean_up_is_complete_and_the_next_one_cleans_up(
    calm: Calm, dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    folder = copy_store(calm.first_folder, tmp_path / "killed")
    assert killed(__file__, folder, dataset, THE_COMMIT)
    with open_store(str(folder)) as survivor:
        assert state(survivor).items() <= calm.second.items()
        assert contents(survivor) != calm.second, "the kill came too late to prove anything"
        assert not learn(survivor, few(dataset), network, seed=1).changed
        assert contents(survivor) == calm.second


def test_first_build_killed_while_writing_leaves_no_category_and_mixes_with_no_other_build(
    calm: Calm, dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    assert killed(__file__, folder, dataset, f"upsert {BANK}")
    with open_store(str(folder)) as survivor:
        assert read_catalog(survivor) == []
        assert survivor.count(BANK) > 0, "the kill came too early to prove anything"
        learn(survivor, few(dataset), network, seed=0)
        assert contents(survivor) == calm.first


def test_reader_sees_the_revision_before_complete_until_the_next_is_committed(
    learnt: VectorStore, dataset: Path, network: Backbone
) -> None:
    before = state(learnt)
    watched = {
        "writing 0",
        *(f"upsert {name}" for name in (BANK, IMAGES, CATALOG)),
        *(f"flush {name}" for name in (IMAGES, CATALOG)),
    }
    seen = []

    def look(moment: str) -> None:
        if moment in watched:
            assert state(learnt) == before, moment
            seen.append(moment)

    def on_progress(stage: str, done: int, total: int) -> None:
        look(f"{stage} {done}")

    learn(CountingStore(learnt, look), dataset, network, seed=1, on_progress=on_progress)
    images = f"upsert {IMAGES}"
    assert seen == [
        *(images, "writing 0", images, f"upsert {BANK}"),
        *(f"upsert {CATALOG}", f"flush {IMAGES}", f"flush {CATALOG}"),
    ]
    assert current(learnt).entry.revision == 2


def test_bank_holds_normal_training_patches_only_and_calibration_images_are_apart(
    learnt: VectorStore,
) -> None:
    category = current(learnt)
    bank, library = read_bank(category), read_images(category)
    sources = {library[image_id] for image_id in bank.image_ids}
    assert {(image.label, image.split) for image in sources} == {("normal", "bank")}
    assert {Path(image.path).parent.parent.name for image in sources} == {"train"}
    by_role = {
        role: sum(i.split == role for i in library.values())
        for role in ("bank", "calibration", "test")
    }
    assert by_role == {"bank": 13, "calibration": 3, "test": 10}
    rows, cols = category.spec.grid
    assert (
        len(bank.vectors) == round(0.02 * 13 * rows * cols) == category.entry.counts["bank_patches"]
    )
    assert len(
        {(i, *cell) for i, cell in zip(bank.image_ids, bank.cells.tolist(), strict=True)}
    ) == len(bank.vectors)


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "../a", "-a", ".a", "a--b", "ä", "a\n", "a" * 65]
)
def test_category_name_that_could_not_name_a_collection_is_refused(
    name: str, dataset: Path, network: Backbone
) -> None:
    with open_store(":memory:") as store, pytest.raises(CategoryError, match="not a category name"):
        learn(store, dataset, SilentNetwork(network), category=name)


@pytest.mark.parametrize("name", ["grid", "A.b_c-d", "7", "a" * 64])
def test_plain_category_names_are_accepted_and_keep_their_points_apart(
    name: str, dataset: Path, network: Backbone
) -> None:
    records = [r for r in read_dataset(dataset) if r.split == "train"][:2]
    with open_store(":memory:") as store:
        learn(store, records, network, category=name)
        learn(store, records, network, category="other")
        assert [c.name for c in read_catalog(store)] == sorted([name, "other"])


def _build_until(folder: str, dataset: str, moment: str) -> None:
    """Build revision 2, or 1 in a new store, and die without a word when ``moment`` comes."""
    die = dying_at(moment)
    with open_store(folder) as opened:
        learn(
            CountingStore(opened, die),
            few(Path(dataset)),
            load_backbone("compact"),
            seed=1,
            on_progress=lambda stage, done, total: die(stage),
        )


if __name__ == "__main__":
    _build_until(*sys.argv[1:])
