from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from indexer.calibration.base import Levels
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.catalog.entry import CategoryError
from indexer.data.dataset import read_dataset
from indexer.data.image_records import ImageRecord
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.update.levels import change_levels
from indexer.update.removal import quarantine_image
from search.monitoring.audit import LevelImage, audit, audit_dataset, level_image
from tests.indexer.world import learn


def test_image_that_alone_sets_the_level_is_named_and_then_the_next(learnt: VectorStore) -> None:
    grid = find_category(learnt, "grid")
    images = read_images(grid, {"split": "calibration"})
    scores = sorted(((i.score or 0, key) for key, i in images.items()), reverse=True)
    first = level_image(grid)
    assert first
    assert first.image_id == scores[0][1]
    assert np.isclose(first.score, read_calibration(grid.entry).threshold)
    assert np.isclose(first.next_score, scores[1][0])
    after = quarantine_image(first.image_id, category=grid).category
    second = level_image(after)
    assert second
    assert second.image_id == scores[1][1]


def test_level_that_rests_on_several_images_is_nobodys(learnt: VectorStore) -> None:
    grid = find_category(learnt, "grid")
    n = read_calibration(grid.entry).n
    several = change_levels(grid, Levels(2.5 / (n + 1), 0.9))
    assert level_image(several) is None
    by_moments = change_levels(several, Levels(0.01), method="sigma")
    assert level_image(by_moments) is None


def test_only_a_category_with_every_image_in_the_bank_can_be_ranked(learnt: VectorStore) -> None:
    with pytest.raises(CategoryError, match="only those could be ranked") as caught:
        audit(find_category(learnt, "grid"))
    assert "--audit" in str(caught.value)


def test_strangest_normal_image_is_ranked_first_also_of_a_data_set_that_is_not_learnt(
    network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.png"
    records = read_dataset(dataset)
    Image.open(records[0].path).crop((0, 0, 30, 30)).resize((128, 128)).save(strange)
    records = [*records[:6], ImageRecord(strange, "normal", "", "train", None), *records[-2:]]
    with open_store(str(tmp_path / "store")) as store:
        learnt = learn(store, records, network, "cross-conformal", coreset=0.1).category
        found = audit(learnt)
        assert level_image(learnt) == LevelImage(
            found[0].image_id, found[0].path, found[0].score, found[1].score
        )
    assert found[0].path == str(strange.resolve())
    assert [suspect.rank for suspect in found] == list(range(1, 8))
    assert [suspect.score for suspect in found] == sorted((s.score for s in found), reverse=True)
    assert len({suspect.image_id for suspect in found}) == 7
    assert audit_dataset(records, category="grid", backbone=network) == found
