from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from backbones.errors import VecspectError
from eval.speed import images
from eval.speed.costs import Timing
from eval.speed.learning import Learning
from indexer.data.dataset import read_dataset
from indexer.knn.exact_index import ExactIndex
from ui.cli.commands.speed import SpeedRun, run_speed


def test_word_that_is_not_known_is_named(tmp_path: Path) -> None:
    for only, against in (("speed", []), ("knn", ["sklearn"])):
        run = SpeedRun(Learning(tmp_path, "compact", tmp_path, None, 0.1), 1, against, tmp_path)
        with pytest.raises(VecspectError, match=r"expected one of .*, got '(speed|sklearn)'"):
            run_speed(only, run)


def test_images_are_spread_over_all_and_no_more_than_there_are(dataset: Path) -> None:
    tests = [record for record in read_dataset(dataset) if record.split == "test"]
    chosen = images._spread(tests, 3)
    assert [tests.index(record) for record in chosen] == [0, 4, 9]
    assert images._spread(tests, 99) == tests


def test_every_stage_of_the_images_after_the_warm_up_is_timed(
    dataset: Path, network: Backbone
) -> None:
    tests = [record for record in read_dataset(dataset) if record.split == "test"][:5]
    bank = network.embed(np.zeros((1, *network.spec.input_size, 3), np.uint8)).patches
    timings: list[Timing] = []
    images._stages(network, ExactIndex(bank.reshape(-1, network.spec.dim)), tests, timings)
    stages = ["decode", "preprocess", "backbone", "kNN", "map"]
    assert [timing.method for timing in timings] == stages * (len(tests) - images.WARM_UP)
    assert all(timing.milliseconds > 0 for timing in timings)
