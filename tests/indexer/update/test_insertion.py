"""Images that join a learnt category: one whole revision, whatever happens on the way.

Run as a program, this file is the process that dies in the middle of an addition.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from backbones.registry import load_backbone
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.counts import PICKED_OUT, WITHOUT_PATCHES
from indexer.catalog.entry import CategoryError
from indexer.catalog.schema import CATALOG
from indexer.store.base import VectorStore
from indexer.store.edge_files import copy_store
from indexer.store.open import open_store
from indexer.update.rollback import rollback
from tests.indexer.world import (
    BANK,
    CACHED,
    IMAGES,
    THE_COMMIT,
    CountingStore,
    add,
    contents,
    current,
    dying_at,
    killed,
    learn,
    quarantine,
    state,
)


def test_who_calibrates_does_not_depend_on_the_order_images_join_in(
    network: Backbone, dataset: Path, more: list[Path]
) -> None:
    def roles(paths: list[Path]) -> dict[str, str]:
        with open_store(":memory:") as store:
            learn(store, dataset, network, "conformal")
            images = read_images(add(store, network, paths).category)
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
    before = current(learnt)
    bank = read_bank(before)
    change = add(learnt, network, more)
    grown = read_bank(change.category)
    assert len(grown.vectors) == len(bank.vectors) + change.patches
    fresh = grown.vectors[~np.isin(grown.image_ids, bank.image_ids)]
    distances = np.linalg.norm(fresh[:, None] - bank.vectors[None], axis=2).min(axis=1)
    # the radius is that of projected patches, whose distances are off by a tenth or so
    assert distances.min() > 0.8 * before.entry.radius


def test_half_learnt_half_added_is_the_leave_one_out_bank_of_all_learnt(
    network: Backbone, dataset: Path, more: list[Path], tmp_path: Path
) -> None:
    def bank_and_scores(store: VectorStore) -> tuple[set[tuple[Any, ...]], list[float]]:
        category = current(store)
        bank = read_bank(category)
        rows = zip(bank.image_ids.tolist(), bank.cells.tolist(), bank.vectors, strict=True)
        patches = {(key, *cell, vector.tobytes()) for key, cell, vector in rows}
        return patches, list(read_calibration(category.entry).scores)

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
    before = current(either)
    source = next(i for i in read_images(before).values() if i.split == "bank")
    change = add(either, network, near_duplicates(Path(source.path), tmp_path, 100))
    assert len(change.images) == 100
    assert change.patches <= 2
    joined = change.entry.counts["bank_images"] - before.entry.counts["bank_images"]
    (told,) = re.findall(r"; (\d+) added nothing new", change.entry.action)
    assert joined - 2 <= int(told) <= joined


def test_what_voids_the_bound_is_counted_and_a_rollback_takes_it_back(
    either: VectorStore, network: Backbone, more: list[Path]
) -> None:
    leave_one_out = current(either).entry.layout == "leave-one-out"
    add(either, network, more[:2])
    role = "bank" if leave_one_out else "calibration"
    images = read_images(current(either))
    quarantine(either, next(key for key, image in images.items() if image.split == role))
    assert current(either).entry.counts[PICKED_OUT] == 1
    rollback(1, category=current(either))
    assert PICKED_OUT not in current(either).entry.counts


@pytest.mark.parametrize("method", ["conformal", "cross-conformal"])
def test_two_alpha_holds_until_an_image_brings_none_of_its_own_patches(
    network: Backbone, dataset: Path, more: list[Path], tmp_path: Path, method: str
) -> None:
    with open_store(str(tmp_path / "store")) as store:
        learn(store, dataset, network, method, coreset=0.1)
        counts = add(store, network, more).entry.counts
        assert WITHOUT_PATCHES not in counts
        counts = add(store, network, near_duplicates(more[0], tmp_path, 3)).entry.counts
        assert counts.get(WITHOUT_PATCHES, 0) == (3 if method == "cross-conformal" else 0)
        rollback(2, category=current(store))
        assert WITHOUT_PATCHES not in current(store).entry.counts


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
    assert again.entry.revision == current(learnt).entry.revision == change.entry.revision


def test_defective_image_joins_the_library_alone(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    before = state(learnt)
    change = add(learnt, network, more[:1], label="defective", defect_type="scratch")
    after = state(learnt)
    assert after["bank vectors"] == before["bank vectors"]
    assert after["entry"].calibration["scores"] == before["entry"].calibration["scores"]
    image = read_images(change.category)[change.images[0]]
    assert (image.label, image.defect_type, image.split) == ("defective", "scratch", "test")


def test_image_of_another_network_is_refused(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    class Other:
        fingerprint = "0123456789abcdef"

    with pytest.raises(CategoryError, match=r"fingerprint .* got 0123456789abcdef"):
        add(learnt, cast(Backbone, Other()), more)


@pytest.mark.parametrize(
    "moment",
    [
        f"upsert {IMAGES}",
        f"upsert {BANK}",
        f"upsert {CACHED}",
        f"set_payload {CACHED}",
        f"upsert {CATALOG}",
    ],
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
    assert killed(__file__, folder, moment, *more)
    with open_store(str(folder)) as survivor:
        assert state(survivor).items() <= before.items()
        assert contents(survivor) != before, "the kill came too early to prove anything"
        add(survivor, network, more)
        assert contents(survivor) == after


def test_addition_killed_at_the_commit_is_whole_when_the_catalog_says_so(
    learnt_copy: Callable[[str], Path], more: list[Path]
) -> None:
    folder = learnt_copy("killed")
    assert killed(__file__, folder, THE_COMMIT, *more)
    with open_store(str(folder)) as survivor:
        category = current(survivor)
        assert category.entry.revision == 2
        assert len(read_bank(category).vectors) == category.entry.counts["bank_patches"]
        assert len(read_images(category)) == 26 + len(more)


def _add_until(folder: str, moment: str, *paths: str) -> None:
    with open_store(folder) as opened:
        add(
            CountingStore(opened, dying_at(moment)),
            load_backbone("compact"),
            [Path(path) for path in paths],
        )


if __name__ == "__main__":
    _add_until(*sys.argv[1:])
