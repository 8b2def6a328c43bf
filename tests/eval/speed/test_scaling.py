from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from eval.speed import scaling as measuring
from eval.speed.learning import Learned, Learning
from eval.speed.scaling import measure_scaling


def test_everything_is_measured_and_the_recheck_finds_the_exact_score(
    dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = Learned(4, 10, {"coreset": 0.1}, 100)
    monkeypatch.setattr("eval.speed.learning.in_fresh_process", lambda *_: learned)
    learning = Learning(dataset, "compact", Path("unused"), None, 0.1)
    found = measure_scaling(learning, network, banks=(100, 400, 10**9), sides=(64, 96))
    assert [bank.patches for bank in found.banks] == [100, 400]
    assert [cost.wrong for cost in found.engine] == [0, 0]
    assert all(cost.recall > 0.99 and cost.rechecked >= 1 for cost in found.engine)
    assert [photo.side for photo in found.photos] == [64, 96]


def test_recheck_corrects_distances_that_the_graph_got_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = np.array([3.0, 5.0, 1.0, 4.0])
    monkeypatch.setattr(measuring, "_distance", lambda store, patch, exact: float(patch[0]))
    score, count = measuring._recheck(
        None,  # type: ignore[arg-type]  # the distances are given
        exact[:, None].astype(np.float32),
        np.array([9.0, 5.0, 8.0, 4.5], np.float32),
    )
    assert (score, count) == (5.0, 3)


def test_photo_of_each_size_is_read(network: Backbone, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "small.png")
    cost = measuring._photo(tmp_path / "small.png", 128, network, tmp_path)
    assert cost.side == 128
    assert cost.input_ms > 0
    with Image.open(tmp_path / "128.png") as written:
        assert written.size == (128, 128)
