"""Learning a category and setting its levels, from outside."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.store.open import open_store
from tests.ui.cli.running import (
    OwnVecspect,
    Shop,
    Vecspect,
    strict_json,
)


def test_index_says_what_it_learnt_and_keeps_it_in_the_default_store(shop: Shop) -> None:
    assert shop.indexed.code == 0, shop.indexed.err
    assert shop.indexed.err == []
    assert shop.indexed.out[0].startswith("grid (compact): learnt as revision 1 in ")
    assert "266 patches of 13 normal images, 3 more calibrate, 10 in the" in shop.indexed.out[0]
    assert shop.indexed.out[1].startswith("reject above ")
    assert {path.name for path in shop.folder.iterdir()} == {"qdrant_data"}


def test_indexing_again_changes_nothing_and_another_level_needs_no_image(
    vecspect: Vecspect, learnt_copy: Callable[[str], Path], dataset: Path
) -> None:
    store = learnt_copy("again")
    again = ("index", dataset, "-c", "grid", "--coreset", 0.02, "--store", store)
    first = vecspect(*again)
    assert (first.code, first.err) == (0, [])
    assert first.out[0] == "grid (compact): nothing changed, revision 1 stands."
    changed = vecspect(*again, "--reject", 0.5)
    assert changed.out[0].endswith("stands. The levels were changed, as revision 2.")
    status = vecspect("status", "--json", "--store", store)
    (category,) = strict_json("\n".join(status.out))["categories"]
    assert (category["alpha_reject"], category["revision"]) == (0.5, 2)


def test_images_skipped_while_learning_are_named_and_the_rest_is_learnt(
    vecspect: Vecspect, dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "normal"
    shutil.copytree(dataset / "train/good", folder)
    (folder / "text.png").write_text("hello")
    shutil.copy(folder / "000.png", folder / "copy.png")
    ended = vecspect("index", folder, "-c", "n", "--coreset", 0.01, "--store", tmp_path / "store")
    assert ended.code == 1
    learnt = re.search(r"of (\d+) normal images, (\d+) more calibrate", ended.out[0])
    assert learnt is not None
    assert sum(map(int, learnt.groups())) == 16
    assert ended.err[0].startswith(f"left out {folder / 'copy.png'}: same bytes as another")
    assert ended.err[1].startswith(f"skipped {folder / 'text.png'}: expected an image")
    assert len(ended.err) == 2


def test_synthetic_defects_set_a_threshold_and_estimate_recall_without_images_afterwards(
    own_vecspect: OwnVecspect, tmp_path: Path
) -> None:
    code, out, _ = own_vecspect("calibrate", "-c", "grid", "--calibration", "synthetic-f1")
    assert (code, "no bound on the false-reject rate" in out) == (0, True)
    with open_store(str(tmp_path / "own")) as store:
        category = find_category(store, "grid")
        calibration = read_calibration(category.entry)
        assert len(calibration.synthetic) == 3 * 9
        assert calibration.threshold in (*calibration.scores, *calibration.synthetic)
        bank = [k for k, i in read_images(category).items() if i.split == "bank"]
    code, out, _ = own_vecspect("remove", bank[0], "-c", "grid")
    assert code == 0, "the cached patches are enough"
    code, out, _ = own_vecspect("calibrate", "-c", "grid", "--recall", tmp_path / "recall.png")
    assert (code, "| grid | compact | 32 px |" in out) == (0, True)
    with Image.open(tmp_path / "recall.png") as picture:
        assert picture.width > 100


def test_calibrate_takes_the_device(own_vecspect: OwnVecspect, tmp_path: Path) -> None:
    code, _, err = own_vecspect(
        "calibrate", "-c", "grid", "--recall", tmp_path / "recall.png", "--device", "gpu"
    )
    assert code != 0
    assert "device" in err
