"""What the stages of a build are expected to take."""

from __future__ import annotations

from pathlib import Path

from backbones.base import Backbone
from backbones.specs import SPECS
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from indexer.learn.time_left import build_stages
from indexer.store.base import VectorStore


def test_the_stages_are_those_that_a_build_reports_in_their_order(
    network: Backbone, dataset: Path, learnt: VectorStore
) -> None:
    reported: list[str] = []
    build_index(
        read_dataset(dataset),
        category="again",
        backbone=network,
        store=learnt,
        on_progress=lambda stage, done, total: reported.append(stage),
    )
    stages = build_stages(normal=16, tests=10, spec=network.spec, coreset=0.1, holdout=0.2)
    assert list(stages) == [stage for stage in dict.fromkeys(reported) if stage != "reading"]


def test_ten_times_the_images_choose_a_coreset_for_a_hundred_times_as_long(
    network: Backbone,
) -> None:
    few, many = (
        build_stages(normal=n, tests=0, spec=network.spec, coreset=0.1, holdout=0.2)["coreset"]
        for n in (100, 1000)
    )
    assert 30 < many.seconds / few.seconds < 300


def test_a_network_of_whole_images_chooses_no_coreset() -> None:
    spec = next(spec for spec in SPECS if spec.level == "image")
    stages = build_stages(normal=9, tests=4, spec=spec, coreset=0.1, holdout=0.2)
    assert "coreset" not in stages
    assert "library" in stages
