"""A category after it was learnt: every change is one whole revision, whatever happens on the way.

Run as a program, this file is the process that dies in the middle of a change.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backbones.base import Backbone
from backbones.registry import load_backbone
from indexer.calibration.base import Calibration
from indexer.catalog.cached_arrays import read_kept
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import find_entry, read_history
from indexer.catalog.counts import PASSED_OVER, PICKED_OUT
from indexer.catalog.schema import (
    CATALOG,
    CatalogEntry,
    CategoryError,
    bank_collection,
    images_collection,
    patches_collection,
)
from indexer.data.image_records import read_dataset
from indexer.learn.build import build_index
from indexer.store.base import VectorStore
from indexer.store.edge_files import copy_store
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from indexer.update.insertion import Change, add_images, quarantine_image, remove_images, rollback
from search.calibrator import ConformalCalibrator, change_levels
from search.inspector import Inspector
from tests.indexer.learn.test_build import CountingStore, contents, state

ROOT = Path(__file__).parents[2]
BANK, IMAGES = bank_collection("grid", "compact"), images_collection("grid", "compact")
KEPT = patches_collection("grid", "compact")
COMMIT = f"upsert {CATALOG}"


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight normal images that the learnt data set does not have, the last one quite different."""
    folder = tmp_path_factory.mktemp("more")
    root = write_dataset(folder, "grid", train=8, test_normal=0, test_defective=0, size=128, seed=5)
    files = sorted((root / "train/good").iterdir())
    ImageOps.invert(Image.open(files[-1]).convert("RGB")).save(files[-1])
    return files


@pytest.fixture(params=["conformal", "cross-conformal"])
def either(
    request: pytest.FixtureRequest, network: Backbone, dataset: Path, tmp_path: Path
) -> Iterator[VectorStore]:
    """A store of its own that has learnt the data set by either layout."""
    with open_store(":memory:") as store:
        learn(store, dataset, network, request.param)
        yield store


def learn(
    store: VectorStore, dataset: Path, network: Backbone, method: Any, coreset: float = 0.02
) -> CatalogEntry:
    return build_index(
        read_dataset(dataset),
        category="grid",
        backbone=network,
        store=store,
        calibrator=ConformalCalibrator(method=method),
        coreset=coreset,
    ).entry


def add(store: VectorStore, network: Backbone, paths: list[Path], **options: Any) -> Change:
    entry = find_entry(store, "grid")
    calibrator = ConformalCalibrator.of(entry)
    return add_images(
        paths, store=store, entry=entry, backbone=network, calibrator=calibrator, **options
    )


def remove(store: VectorStore, *ids: str) -> Change:
    entry = find_entry(store, "grid")
    return remove_images(ids, store=store, entry=entry, calibrator=ConformalCalibrator.of(entry))


def quarantine(store: VectorStore, key: str) -> Change:
    entry = find_entry(store, "grid")
    calibrator = ConformalCalibrator.of(entry)
    return quarantine_image(key, store=store, entry=entry, calibrator=calibrator)


def shown(store: VectorStore, network: Backbone, queries: list[Path]) -> set[str]:
    """Every image that a score, a neighbour or a piece of evidence comes from."""
    inspector = Inspector(store, "grid", network=network)
    ids = {inspector.inspect(query).evidence.image_id for query in queries}
    return ids | {n.image_id for query in queries for n in inspector.similar(query, top=1000)}


def queries_of(dataset: Path) -> list[Path]:
    return [record.path for record in read_dataset(dataset) if record.split == "test"][:6]


def distances_from_scratch(store: VectorStore) -> dict[str, NDArray[np.float64]]:
    """Distances of the calibration images' patches, all measured again in double precision."""
    entry = find_entry(store, "grid")
    bank = read_bank(store, entry)
    found = {}
    calibrating = dict(read_kept(store, entry, "distances"))
    for key, patches in read_kept(store, entry, "patches", list(calibrating)):
        others = bank.vectors[bank.image_ids != key].astype(np.float64)
        flat = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
        squared = (flat**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * flat @ others.T
        nearest = np.sqrt(np.maximum(squared.min(axis=1), 0))
        found[key] = nearest.reshape(patches.shape[:-1])
    return found


def test_calibration_after_every_change_is_that_of_the_bank_that_is_there(
    either: VectorStore, network: Backbone, more: list[Path]
) -> None:
    def check(after: str) -> None:
        entry = find_entry(either, "grid")
        scores = Calibration.from_payload(entry.calibration).scores
        expected = distances_from_scratch(either)
        assert scores == pytest.approx(sorted(d.max() for d in expected.values()), rel=2e-3), after
        for key, kept in read_kept(either, entry, "distances"):
            np.testing.assert_allclose(kept, expected[key], rtol=2e-3, atol=2e-3, err_msg=after)
        assert len(scores) == entry.counts["calibration_images"]
        assert len(read_bank(either, entry).vectors) == entry.counts["bank_patches"]

    check("learning")
    change = add(either, network, more)
    assert change.patches > 0
    check("adding")
    entry = find_entry(either, "grid")
    kept = read_images(either, entry)
    remove(either, change.images[0], next(k for k, i in kept.items() if i.split == "bank"))
    check("removing")
    quarantine(either, str(read_bank(either, find_entry(either, "grid")).image_ids[0]))
    check("quarantine")


def test_who_calibrates_does_not_depend_on_the_order_images_join_in(
    network: Backbone, dataset: Path, more: list[Path]
) -> None:
    def roles(paths: list[Path]) -> dict[str, str]:
        with open_store(":memory:") as store:
            learn(store, dataset, network, "conformal")
            images = read_images(store, add(store, network, paths).entry)
            return {Path(i.path).name: i.split for i in images.values() if Path(i.path) in paths}

    found = roles(more)
    assert list(found.values()).count("calibration") == round(0.2 * (16 + 8)) - 3
    assert roles(more[::-1]) == found


def test_unreadable_files_cost_the_share_at_most_their_own_number(
    learnt: VectorStore, network: Backbone, more: list[Path], tmp_path: Path
) -> None:
    damaged = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(damaged):
        path.write_bytes(b"no picture %d" % number)
    counts = add(learnt, network, [*damaged, *more]).entry.counts
    exact = round(0.2 * (16 + len(more)))
    assert abs(counts["calibration_images"] - exact) <= len(damaged)
    assert counts["bank_images"] + counts["calibration_images"] == 16 + len(more)


def test_added_patches_lie_beyond_the_covering_radius_and_cover_the_rest(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    before = find_entry(learnt, "grid")
    bank = read_bank(learnt, before)
    change = add(learnt, network, more)
    grown = read_bank(learnt, change.entry)
    assert len(grown.vectors) == len(bank.vectors) + change.patches
    fresh = grown.vectors[~np.isin(grown.image_ids, bank.image_ids)]
    distances = np.linalg.norm(fresh[:, None] - bank.vectors[None], axis=2).min(axis=1)
    # the radius is that of projected patches, whose distances are off by a tenth or so
    assert distances.min() > 0.8 * before.radius


def test_half_learnt_half_added_is_the_leave_one_out_bank_of_all_learnt(
    network: Backbone, dataset: Path, more: list[Path], tmp_path: Path
) -> None:
    def bank_and_scores(store: VectorStore) -> tuple[set[tuple[Any, ...]], list[float]]:
        entry = find_entry(store, "grid")
        bank = read_bank(store, entry)
        rows = zip(bank.image_ids.tolist(), bank.cells.tolist(), bank.vectors, strict=True)
        patches = {(key, *cell, vector.tobytes()) for key, cell, vector in rows}
        return patches, list(Calibration.from_payload(entry.calibration).scores)

    whole = shutil.copytree(dataset, tmp_path / "whole")
    for path in more:
        shutil.copy(path, whole / "train/good" / f"more-{path.name}")
    places = [str(tmp_path / name) for name in ("together", "grown")]
    with open_store(places[0]) as together, open_store(places[1]) as grown:
        learn(together, whole, network, "cross-conformal", coreset=0.1)
        learn(grown, dataset, network, "cross-conformal", coreset=0.1)
        add(grown, network, more[:3])
        add(grown, network, more[3:])
        patches, scores = bank_and_scores(grown)
        expected, expected_scores = bank_and_scores(together)
    assert patches == expected
    assert scores == pytest.approx(expected_scores, rel=1e-3)


def near_duplicates(image: Path, folder: Path, count: int) -> list[Path]:
    """Copies of an image that each have another pixel a little brighter or darker."""
    twins = [folder / f"twin-{number}.png" for number in range(count)]
    for number, twin in enumerate(twins):
        pixels = np.asarray(Image.open(image).convert("RGB")).copy()
        pixels[number, 0] ^= 1
        Image.fromarray(pixels).save(twin)
    return twins


def test_near_duplicates_join_without_the_bank_growing(
    either: VectorStore, network: Backbone, tmp_path: Path
) -> None:
    entry = find_entry(either, "grid")
    source = next(i for i in read_images(either, entry).values() if i.split == "bank")
    change = add(either, network, near_duplicates(Path(source.path), tmp_path, 100))
    assert len(change.images) == 100
    assert change.patches <= 2
    joined = change.entry.counts["bank_images"] - entry.counts["bank_images"]
    (told,) = re.findall(r"; (\d+) brought nothing new", change.entry.action)
    assert joined - 2 <= int(told) <= joined


def test_what_voids_the_bound_is_counted_and_a_rollback_takes_it_back(
    either: VectorStore, network: Backbone, more: list[Path]
) -> None:
    alone = find_entry(either, "grid").layout == "leave-one-out"
    add(either, network, more[:2])
    images = read_images(either, find_entry(either, "grid"))
    judge = next(k for k, i in images.items() if i.split == ("bank" if alone else "calibration"))
    quarantine(either, judge)
    assert find_entry(either, "grid").counts[PICKED_OUT] == 1
    rollback(1, store=either, entry=find_entry(either, "grid"))
    assert PICKED_OUT not in find_entry(either, "grid").counts


@pytest.mark.parametrize("method", ["conformal", "cross-conformal"])
def test_two_alpha_holds_until_an_image_brings_none_of_its_own_patches(
    network: Backbone, dataset: Path, more: list[Path], tmp_path: Path, method: str
) -> None:
    with open_store(str(tmp_path / "store")) as store:
        learn(store, dataset, network, method, coreset=0.1)
        counts = add(store, network, more).entry.counts
        assert PASSED_OVER not in counts
        counts = add(store, network, near_duplicates(more[0], tmp_path, 3)).entry.counts
        assert counts.get(PASSED_OVER, 0) == (3 if method == "cross-conformal" else 0)
        rollback(2, store=store, entry=find_entry(store, "grid"))
        assert PASSED_OVER not in find_entry(store, "grid").counts


def test_known_and_damaged_files_are_named_and_the_rest_joins(
    learnt: VectorStore, network: Backbone, dataset: Path, more: list[Path], tmp_path: Path
) -> None:
    known = dataset / "train/good/000.png"
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    change = add(learnt, network, [known, damaged, more[0], more[0]])
    assert change.known == (known, more[0])
    assert [skipped.path for skipped in change.skipped] == [damaged]
    assert len(change.images) == 1
    again = add(learnt, network, [known, damaged])
    assert again.images == ()
    assert again.entry.revision == find_entry(learnt, "grid").revision == change.entry.revision


def test_defective_image_joins_the_library_alone(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    before = state(learnt)
    change = add(learnt, network, more[:1], label="defective", defect_type="scratch")
    after = state(learnt)
    assert after["bank vectors"] == before["bank vectors"]
    assert after["entry"].calibration["scores"] == before["entry"].calibration["scores"]
    image = read_images(learnt, change.entry)[change.images[0]]
    assert (image.label, image.defect_type, image.split) == ("defective", "scratch", "test")


def test_image_of_another_network_is_refused(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    class Other:
        fingerprint = "0123456789abcdef"

    with pytest.raises(CategoryError, match=r"fingerprint .* got 0123456789abcdef"):
        add(learnt, cast(Backbone, Other()), more)


@pytest.mark.parametrize("leave", [remove, quarantine])
def test_image_that_left_is_never_shown_again_and_its_patches_calibrate_nothing(
    either: VectorStore, network: Backbone, dataset: Path, leave: Callable[..., Change]
) -> None:
    queries = queries_of(dataset)
    before = Inspector(either, "grid", network=network)
    gone = before.inspect(queries[0]).evidence.image_id
    change = leave(either, gone)
    assert change.patches < 0
    evidence = {
        Inspector(either, "grid", network=network).inspect(query).evidence.image_id
        for query in queries
    }
    assert gone not in evidence
    assert gone not in read_bank(either, change.entry).image_ids
    assert gone not in dict(read_kept(either, change.entry, "distances"))
    if leave is remove:
        assert gone not in shown(either, network, queries)
        assert gone not in read_images(either, change.entry)
    else:
        assert read_images(either, change.entry)[gone].split == "quarantined"


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
    entry = find_entry(either, "grid")
    change_levels(either, entry, alpha_reject=0.6, alpha_review=0.7)
    assert inspector.inspect(query).threshold < prediction.threshold


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
        distances = {
            k: d.tobytes() for k, d in read_kept(either, find_entry(either, "grid"), "distances")
        }
        return {
            **found,
            "bank": bank[order].tobytes(),
            "calibration": entry.calibration,
            "counts": entry.counts,
            "distances": distances,
        }

    states = {1: content()}
    remove(either, str(read_bank(either, find_entry(either, "grid")).image_ids[0]))
    states[2] = content()
    add(either, network, more[:3])
    states[3] = content()
    for target in (1, 3, 2, 1):
        rollback(target, store=either, entry=find_entry(either, "grid"))
        assert content() == states[target], target
    actions = [entry.action for entry in read_history(either, find_entry(either, "grid"))]
    assert actions[:2] == ["learnt grid", actions[1]]
    assert actions[3:] == [f"back to revision {target}" for target in (1, 3, 2, 1)]


def test_revision_that_never_was_is_refused_with_those_that_were(learnt: VectorStore) -> None:
    with pytest.raises(CategoryError, match=r"revision 7 .* Possible: none"):
        rollback(7, store=learnt, entry=find_entry(learnt, "grid"))


def test_unknown_id_and_the_last_images_are_refused_and_nothing_changes(
    learnt: VectorStore,
) -> None:
    before = contents(learnt)
    with pytest.raises(CategoryError, match="no image nobody in the library"):
        remove(learnt, "nobody")
    normal = [
        k for k, i in read_images(learnt, find_entry(learnt, "grid")).items() if i.split == "bank"
    ]
    with pytest.raises(CategoryError, match="at least 1 of its bank images, 0 would be left"):
        remove(learnt, *normal)
    assert state(learnt).items() <= before.items()
    remove(learnt, normal[0])
    assert find_entry(learnt, "grid").counts["bank_images"] == len(normal) - 1


def test_learning_again_after_a_change_starts_anew_and_forgets_the_past(
    learnt: VectorStore, network: Backbone, dataset: Path, more: list[Path]
) -> None:
    scratch = state(learnt)
    add(learnt, network, more[:2])
    entry = learn(learnt, dataset, network, "conformal")
    assert (entry.revision, entry.origin) == (3, 3)
    assert [old.revision for old in read_history(learnt, entry)] == [3]
    again = state(learnt)
    assert again["library"] == scratch["library"]
    assert sorted(again["bank cells"]) == sorted(scratch["bank cells"])
    assert {p.payload["since"] for c in (BANK, IMAGES, KEPT) for p in learnt.scroll(c)} == {3}


@pytest.mark.parametrize(
    "moment", [f"upsert {IMAGES}", f"upsert {BANK}", f"upsert {KEPT}", f"set_payload {KEPT}"]
)
def test_killed_addition_leaves_the_revision_before_and_runs_again(
    learnt_copy: Callable[[str], Path],
    network: Backbone,
    more: list[Path],
    moment: str,
) -> None:
    folder = learnt_copy("killed")
    with open_store(str(copy_store(folder, folder.with_name("calm")))) as calm:
        before = contents(calm)
        add(calm, network, more)
        after = contents(calm)
    assert killed(folder, moment, more)
    with open_store(str(folder)) as survivor:
        assert state(survivor).items() <= before.items()
        assert contents(survivor) != before, "the kill came too early to prove anything"
        add(survivor, network, more)
        assert contents(survivor) == after


def test_addition_killed_at_the_commit_is_whole_when_the_catalog_says_so(
    learnt_copy: Callable[[str], Path], more: list[Path]
) -> None:
    folder = learnt_copy("killed")
    assert killed(folder, COMMIT, more)
    with open_store(str(folder)) as survivor:
        entry = find_entry(survivor, "grid")
        assert entry.revision == 2
        assert len(read_bank(survivor, entry).vectors) == entry.counts["bank_patches"]
        assert len(read_images(survivor, entry)) == 26 + len(more)


def killed(folder: Path, moment: str, paths: list[Path]) -> bool:
    process = subprocess.run(
        [sys.executable, __file__, folder, moment, *paths],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )
    return process.returncode == -signal.SIGKILL


def _add_until(folder: str, moment: str, *paths: str) -> None:
    def die(now: str) -> None:
        if now == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_store(folder) as opened:
        store = cast(VectorStore, CountingStore(opened, die))
        add(store, load_backbone("compact"), [Path(path) for path in paths])


if __name__ == "__main__":
    _add_until(*sys.argv[1:])
