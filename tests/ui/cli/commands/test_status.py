"""Listing categories, auditing their images and watching what is scored, from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.data.dataset import read_dataset
from indexer.store.open import open_store
from tests.ui.cli.running import (
    OwnVecspect,
    Shop,
    Vecspect,
    status_of,
    strict_json,
)


def test_status_lists_the_categories(vecspect: Vecspect, shop: Shop) -> None:
    ended = vecspect("status", "--json")
    assert (ended.code, ended.err) == (0, [])
    status = strict_json("\n".join(ended.out))
    assert status["store"] == shop.store
    (category,) = status["categories"]
    assert (category["category"], category["backbone"], category["revision"]) == (
        "grid",
        "compact",
        1,
    )
    assert (category["bank_patches"], category["smallest_alpha"]) == (266, 0.25)
    table = vecspect("status")
    assert table.out[0] == f"store {shop.store}"
    assert table.out[-1].startswith("grid ")


def test_status_tells_method_number_smallest_level_and_bound(
    own_vecspect: OwnVecspect,
) -> None:
    told = status_of(own_vecspect)
    assert (told["calibration"], told["n"], told["smallest_alpha"]) == ("conformal", 3, 0.25)
    assert told["bound"] == "at most the level"
    assert (
        own_vecspect("calibrate", "-c", "grid", "--calibration", "sigma", "--reject", 0.01)[0] == 0
    )
    told = status_of(own_vecspect)
    assert (told["calibration"], told["alpha_reject"]) == ("sigma", pytest.approx(0.01))
    assert told["bound"] == "no bound on the false-reject rate"
    code, _, err = own_vecspect("calibrate", "-c", "grid", "--calibration", "cross-conformal")
    assert (code, "vecspect index DATASET --category grid --calibration" in err) == (1, True)
    assert own_vecspect("calibrate", "-c", "grid", "--calibration", "guess")[0] == 2
    code, _, err = own_vecspect(
        "calibrate", "-c", "grid", "--calibration", "conformal", "--reject", 0.01
    )
    assert (code, "needs at least 99" in err) == (1, True)


def test_status_says_when_the_bound_is_no_longer_proven(
    own_vecspect: OwnVecspect, tmp_path: Path
) -> None:
    with open_store(str(tmp_path / "own")) as store:
        images = read_images(find_category(store, "grid"))
    judge = next(key for key, image in images.items() if image.split == "calibration")
    assert own_vecspect("quarantine", judge, "-c", "grid")[0] == 0
    assert (
        "no longer proven: images that calibrate were taken out" in status_of(own_vecspect)["bound"]
    )


def test_audit_ranks_and_needs_a_leave_one_out_category(
    own_vecspect: OwnVecspect, dataset: Path
) -> None:
    code, _, err = own_vecspect("audit", "-c", "grid")
    assert (code, "--audit" in err) == (1, True)
    common = ("index", dataset, "-c", "grid", "--coreset", 0.02)
    code, out, _ = own_vecspect(*common, "--calibration", "cross-conformal", "--audit")
    assert (code, "at most 2 times the level in the worst case" in out) == (0, True)
    code, out, _ = own_vecspect("audit", "-c", "grid", "--json", "--top", 4)
    suspects = [json.loads(line) for line in out.splitlines()]
    assert [s["rank"] for s in suspects] == [1, 2, 3, 4]
    assert [s["score"] for s in suspects] == sorted((s["score"] for s in suspects), reverse=True)


def test_new_parts_that_are_scored_are_watched_for_drift_and_library_images_are_not(
    own_vecspect: OwnVecspect, dataset: Path, tmp_path: Path
) -> None:
    assert "nothing scored yet" in own_vecspect("drift", "-c", "grid")[1]
    images = [r.path for r in read_dataset(dataset) if r.split == "test"][:3]
    own_vecspect("score", *images, "-c", "grid")
    assert "nothing scored yet" in own_vecspect("drift", "-c", "grid")[1]
    new = [tmp_path / f"new {number}.png" for number in range(len(images))]
    for path, copy in zip(images, new, strict=True):
        copy.write_bytes(path.read_bytes() + b"\0")
    own_vecspect("score", *new, "-c", "grid")
    told = json.loads(own_vecspect("drift", "-c", "grid", "--json")[1])
    assert (told["images"], told["alarm"]) == (3, False)
    assert "quiet" in own_vecspect("drift", "-c", "grid")[1]
