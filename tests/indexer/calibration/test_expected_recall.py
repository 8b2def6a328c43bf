from __future__ import annotations

import numpy as np

from backbones.base import Backbone
from indexer.calibration.expected_recall import estimated_recall
from indexer.calibration.methods import read_calibration
from indexer.catalog.commits import find_category
from indexer.store.base import VectorStore
from indexer.synthetic.blending import CONTRASTS, SIZES
from indexer.update.synthetic_defects import add_synthetic_defects


def test_recall_is_the_share_of_synthetic_scores_above_the_threshold(
    learnt: VectorStore, network: Backbone
) -> None:
    category = add_synthetic_defects(category=find_category(learnt, "grid"), backbone=network)
    found = estimated_recall(category)
    assert [(kind.size, kind.contrast) for kind in found] == [
        (size, contrast) for size in SIZES for contrast in CONTRASTS
    ]
    calibration = read_calibration(category.entry)
    above = np.asarray(calibration.synthetic) > calibration.threshold
    assert {kind.defects for kind in found} == {calibration.n}
    assert sum(kind.share * kind.defects for kind in found) == above.sum()
    assert found[-1].share >= found[0].share
