"""What a build leaves in the store: whatever happens on the way, one whole revision.

Run as a program, this file is the process that dies in the middle of a build.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Features, Precision
from backbones.errors import VecspectError
from backbones.registry import load_backbone
from indexer.calibration.base import CalibrationError
from indexer.catalog.collections import read_bank, read_defect_patches, read_images
from indexer.catalog.commits import find_entry, read_catalog
from indexer.catalog.schema import (
    CATALOG,
    WHOLE,
    CategoryError,
    bank_collection,
    defects_collection,
    images_collection,
    patches_collection,
    visible,
)
from indexer.data.image_records import DatasetError, ImageRecord, read_dataset
from indexer.learn.build import BuildReport, build_index
from indexer.store.base import VectorStore, read_matrix
from indexer.store.edge_files import copy_store
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator

ROOT = Path(__file__).parents[2]
KEPT = patches_collection("grid", "compact")
DEFECTS = defects_collection("grid", "compact")
BANK, IMAGES = bank_collection("grid", "compact"), images_collection("grid", "compact")
WRITES = ("create_collection", "delete_collection", "upsert", "delete", "set_payload", "flush")
MOMENTS_BEFORE_THE_COMMIT = (
    "embedding",
    "coreset",
    "calibration",
    "writing",
    f"upsert {BANK}",
    f"upsert {IMAGES}",
    f"upsert {KEPT}",
    f"upsert {DEFECTS}",
)
MOMENT_OF_THE_COMMIT = f"flush {CATALOG}"


class CountingStore:
    """A store that notes what is written and calls ``after`` with each note."""

    def __init__(
        self, store: VectorStore, after: Callable[[str], None] = lambda write: None
    ) -> None:
        self._store = store
        self._after = after
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in WRITES:
            return method

        def noted(collection: str, *args: Any, **options: Any) -> Any:
            result = method(collection, *args, **options)
            self.writes.append(f"{name} {collection}")
            self._after(self.writes[-1])
            return result

        return noted


class SilentNetwork:
    """A network that must not be asked."""

    def __init__(self, network: Backbone) -> None:
        self.spec: BackboneSpec = network.spec
        self.source: Path | None = None
        self.precision: Precision = network.precision
        self.fingerprint: str = network.fingerprint

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        raise AssertionError(f"{len(inputs)} images were embedded for nothing")


@pytest.fixture(params=["edge", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    location = ":memory:" if request.param == "memory" else str(tmp_path / "store")
    with open_store(location) as opened:
        yield opened


@pytest.fixture
def quick_store() -> Iterator[VectorStore]:
    """For tests that are about the build and not about the store."""
    with open_store(":memory:") as opened:
        yield opened


@pytest.fixture
def own_dataset(dataset: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return shutil.copytree(dataset, tmp_path / "data")


def learn(
    store: VectorStore | CountingStore,
    records: Path | Sequence[ImageRecord],
    network: Backbone,
    **options: Any,
) -> BuildReport:
    """A build as quick as can be; ``options`` replace its defaults."""
    defaults: dict[str, Any] = {
        "category": "grid",
        "calibrator": ConformalCalibrator(),
        "coreset": 0.02,
    }
    return build_index(
        read_dataset(records) if isinstance(records, Path) else records,
        backbone=network,
        store=cast(VectorStore, store),
        **{**defaults, **options},
    )


def state(store: VectorStore) -> dict[str, Any]:
    """All that a reader of the category gets, apart from the time it was built."""
    entry = find_entry(store, "grid")
    bank, defects = read_bank(store, entry), read_defect_patches(store, entry)
    _, embeddings, _ = read_matrix(store, IMAGES, WHOLE, where=visible(entry))
    # the engine's JSON may lose the last bit of a double
    single = {n: np.float32(entry.calibration[n]).tolist() for n in ("scores", "peaks")}
    return {
        "entry": replace(entry, built_at="", calibration={**entry.calibration, **single}),
        "bank vectors": bank.vectors.tobytes(),
        "bank cells": bank.cells.tolist(),
        "bank image ids": bank.image_ids.tolist(),
        "library": {
            # the engine's JSON may lose the last bit of a double; a score is a float32
            image_id: replace(image, score=image.score and float(np.float32(image.score)))
            for image_id, image in read_images(store, entry).items()
        },
        "image embeddings": embeddings.tobytes(),
        # in an order of their own: ids of points that came back are new
        "defects": sorted(
            (str(key), *cell, vector.tobytes())
            for key, cell, vector in zip(
                defects.image_ids, defects.cells.tolist(), defects.vectors, strict=True
            )
        ),
    }


def contents(store: VectorStore) -> dict[str, Any]:
    """The state and how many points lie around for it."""
    return {**state(store), "points": {name: store.count(name) for name in store.collections()}}


def few(dataset: Path) -> list[ImageRecord]:
    """Six images to learn from and three to test, one of them defective."""
    records = read_dataset(dataset)
    train, test = ([r for r in records if r.split == split] for split in ("train", "test"))
    return [*train[:6], test[0], *test[-2:]]


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


def killed_while_building(folder: Path, dataset: Path, moment: str) -> bool:
    process = subprocess.run(
        [sys.executable, __file__, folder, dataset, moment],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )
    return process.returncode == -signal.SIGKILL


def test_second_build_with_the_same_inputs_writes_nothing(
    store: VectorStore, dataset: Path, network: Backbone
) -> None:
    assert learn(store, dataset, network).changed
    before = contents(store)
    counting = CountingStore(store)
    second = learn(counting, dataset, network)
    assert not second.changed
    assert second.entry == find_entry(store, "grid")
    assert counting.writes == []
    assert contents(store) == before


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


def test_renamed_image_is_learnt_again_so_that_stored_paths_are_true(
    store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    before = learn(store, own_dataset, network)
    roles = {i.image_id: i.split for i in read_images(store, before.entry).values()}
    (own_dataset / "train/good/000.png").rename(own_dataset / "train/good/zzz.png")
    after = learn(store, own_dataset, network)
    assert after.changed
    images = read_images(store, after.entry).values()
    assert {image.image_id: image.split for image in images} == roles, "a name changed the split"
    assert all(Path(image.path).is_file() for image in images)


def test_moved_data_set_given_by_another_relative_path_changes_nothing(
    learnt: VectorStore, dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.parent)
    assert not learn(learnt, Path(dataset.name), network).changed


@pytest.mark.parametrize("moment", MOMENTS_BEFORE_THE_COMMIT)
def test_killed_build_leaves_the_revision_before_and_runs_again_as_if_nothing_happened(
    calm: Calm, dataset: Path, network: Backbone, tmp_path: Path, moment: str
) -> None:
    folder = copy_store(calm.first_folder, tmp_path / "killed")
    assert killed_while_building(folder, dataset, moment)
    with open_store(str(folder)) as survivor:
        assert state(survivor).items() <= calm.first.items()
        assert learn(survivor, few(dataset), network, seed=1).changed
        assert contents(survivor) == calm.second


def test_build_killed_between_commit_and_clean_up_is_complete_and_the_next_one_cleans_up(
    calm: Calm, dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    folder = copy_store(calm.first_folder, tmp_path / "killed")
    assert killed_while_building(folder, dataset, MOMENT_OF_THE_COMMIT)
    with open_store(str(folder)) as survivor:
        assert state(survivor).items() <= calm.second.items()
        assert contents(survivor) != calm.second, "the kill came too late to prove anything"
        assert not learn(survivor, few(dataset), network, seed=1).changed
        assert contents(survivor) == calm.second


def test_first_build_killed_while_writing_leaves_no_category_and_mixes_with_no_other_build(
    calm: Calm, dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    assert killed_while_building(folder, dataset, f"upsert {BANK}")
    with open_store(str(folder)) as survivor:
        assert read_catalog(survivor) == []
        assert survivor.count(BANK) > 0, "the kill came too early to prove anything"
        learn(survivor, few(dataset), network, seed=0)
        assert contents(survivor) == calm.first


def test_reader_sees_the_revision_before_complete_until_the_next_is_committed(
    learnt: VectorStore, dataset: Path, network: Backbone
) -> None:
    before = state(learnt)
    seen = []

    def look(moment: str) -> None:
        if moment in ("writing 0", f"upsert {BANK}", f"upsert {IMAGES}", f"flush {IMAGES}"):
            assert state(learnt) == before, moment
            seen.append(moment)

    def on_progress(stage: str, done: int, total: int) -> None:
        look(f"{stage} {done}")

    learn(CountingStore(learnt, look), dataset, network, seed=1, on_progress=on_progress)
    images = f"upsert {IMAGES}"
    assert seen == [images, "writing 0", images, f"upsert {BANK}", f"flush {IMAGES}"]
    assert find_entry(learnt, "grid").revision == 2


def test_bank_holds_normal_training_patches_only_and_calibration_images_are_apart(
    learnt: VectorStore,
) -> None:
    entry = find_entry(learnt, "grid")
    bank, library = read_bank(learnt, entry), read_images(learnt, entry)
    sources = {library[image_id] for image_id in bank.image_ids}
    assert {(image.label, image.split) for image in sources} == {("normal", "bank")}
    assert {Path(image.path).parent.parent.name for image in sources} == {"train"}
    by_role = {
        role: sum(i.split == role for i in library.values())
        for role in ("bank", "calibration", "test")
    }
    assert by_role == {"bank": 13, "calibration": 3, "test": 10}
    rows = cols = entry.spec.grid
    assert len(bank.vectors) == round(0.02 * 13 * rows * cols) == entry.counts["bank_patches"]
    assert len(
        {(i, *cell) for i, cell in zip(bank.image_ids, bank.cells.tolist(), strict=True)}
    ) == len(bank.vectors)


def test_held_out_and_test_images_are_stored_with_their_scores(learnt: VectorStore) -> None:
    entry = find_entry(learnt, "grid")
    library = read_images(learnt, entry).values()
    assert all((image.score is None) == (image.split == "bank") for image in library)
    scores = sorted(i.score for i in library if i.split == "calibration" and i.score is not None)
    assert scores == pytest.approx(entry.calibration["scores"])


def test_defective_image_never_enters_the_bank_even_if_everything_is_kept(
    dataset: Path, network: Backbone
) -> None:
    records = read_dataset(dataset)
    chosen = [r for r in records if r.split == "train"][:4] + [r for r in records if r.defect_type]
    with open_store(":memory:") as store:
        entry = learn(store, chosen, network, coreset=1).entry
        library = read_images(store, entry)
        assert sum(image.label == "defective" for image in library.values()) == 6
        assert {library[i].label for i in read_bank(store, entry).image_ids} == {"normal"}


def test_files_that_cannot_be_used_are_named_with_a_reason_and_the_rest_is_learnt(
    store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    good = (own_dataset / "train/good/000.png").read_bytes()
    bad = {
        "train/good/truncated.png": good[: len(good) // 2],
        "train/good/empty.png": b"",
        "train/good/text.png": b"not a picture",
        "test/good/damaged.png": good[:100],
    }
    for name, content in bad.items():
        (own_dataset / name).write_bytes(content)
    (own_dataset / "train/good/missing.png").symlink_to(own_dataset / "nowhere")
    build = learn(store, own_dataset, network)
    assert {skipped.path for skipped in build.skipped} == {
        own_dataset / name for name in [*bad, "train/good/missing.png"]
    }
    assert all(s.reason and "\n" not in s.reason for s in build.skipped)
    assert len(build.skipped) == 5
    counts = build.entry.counts
    assert counts["bank_images"] + counts["calibration_images"] == 16
    assert counts["test_images"] == 10


def test_image_that_is_there_twice_is_named_and_learnt_once(
    store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    copy = own_dataset / "train/good/copy.png"
    shutil.copy(own_dataset / "train/good/000.png", copy)
    build = learn(store, own_dataset, network)
    assert build.duplicates == (copy,)
    assert len(read_images(store, build.entry)) == 26


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bank_or_calibration_images_alone_end_in_one_line_and_no_category(
    quick_store: VectorStore, own_dataset: Path, network: Backbone, seed: int
) -> None:
    (own_dataset / "train/good/001.png").write_bytes(b"damaged")
    two = [r for r in read_dataset(own_dataset) if r.path.stem in ("000", "001")][:2]
    with pytest.raises(VecspectError) as caught:
        learn(quick_store, two, network, seed=seed)
    assert "\n" not in str(caught.value)
    assert read_catalog(quick_store) == []


def test_data_set_of_damaged_images_only_is_refused_with_the_first_reason(
    quick_store: VectorStore, tmp_path: Path, network: Backbone
) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"damaged %d" % number)
    with pytest.raises(DatasetError, match=r"^none of the 2 normal .*\.png: .+") as caught:
        learn(quick_store, folder, network)
    assert "\n" not in str(caught.value)
    assert read_catalog(quick_store) == []


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
        assert [e.category for e in read_catalog(store)] == sorted([name, "other"])


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
    with pytest.raises(CalibrationError, match=r"^--re(ject|view) ") as caught:
        learn(counting, dataset, SilentNetwork(network), calibrator=ConformalCalibrator(*levels))
    assert "\n" not in str(caught.value)
    assert counting.writes == []


def _build_until(folder: str, dataset: str, moment: str) -> None:
    """Build revision 2, or 1 in a new store, and die without a word when ``moment`` comes."""

    def die(now: str) -> None:
        if now == moment:
            os.kill(os.getpid(), signal.SIGKILL)

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
