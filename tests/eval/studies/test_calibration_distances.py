from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.studies.calibration_distances import Distances, measure_distances
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError


def quiet(stage: str, done: int, total: int) -> None:
    pass


def test_bank_of_any_images_is_a_minimum_that_leaves_out_the_image_itself() -> None:
    rng = np.random.default_rng(0)
    table = rng.uniform(size=(5, 5 + 5 + 3, 7)).astype(np.float32)
    distances = Distances(table.copy(), normal=5)
    bank = np.array([1, 3, 4])
    scores = distances.scores(bank)
    for row in range(13):
        base = row % 5 if row < 10 else None
        others = [image for image in bank if image != base]
        assert scores[row] == table[others, row].min(axis=0).max()


def test_too_few_images_for_the_study_are_refused(network: Backbone, dataset: Path) -> None:
    with pytest.raises(
        DatasetError, match="more than 200 normal images and some defective ones, got 20"
    ):
        measure_distances(read_dataset(dataset), network, quiet)
