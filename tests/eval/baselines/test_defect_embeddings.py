"""The baselines of the defect embedding find alike what is alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.baselines.defect_embeddings import baseline_likenesses
from indexer.store.base import VectorStore
from search.inspector import Inspector
from tests.search.retrieval.test_region import defects


def test_each_baseline_likens_an_image_most_to_itself_and_to_its_copy(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    paths = defects(dataset)[:3]
    (tmp_path / "copy.png").write_bytes(paths[0].read_bytes())
    inspector = Inspector(learnt, "grid", network=network)
    likenesses = baseline_likenesses(inspector, [*paths, tmp_path / "copy.png"])
    assert set(likenesses) == {"patches", "residual", "regions", "crop"}
    for by, likeness in likenesses.items():
        assert likeness.shape == (4, 4), by
        assert np.allclose(likeness.diagonal(), 1, atol=1e-4), by
        assert likeness[0, 3] == pytest.approx(1, abs=1e-4), by
        assert likeness[0, 1:3].max() < 0.999, by
