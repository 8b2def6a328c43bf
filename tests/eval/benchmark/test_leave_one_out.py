from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbones.base import Backbone
from eval.benchmark import leave_one_out, run
from eval.benchmark.leave_one_out import RetrievalRow, retrieval_table
from eval.benchmark.retrieval import run_retrieval
from eval.benchmark.run import BenchmarkSettings
from eval.metrics.defect_types import GroupFigures, ProposalFigures
from eval.metrics.retrieval import RetrievalFigures
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.entry import LibraryImage
from search.retrieval.neighbors import Neighbor, neighbors


@pytest.fixture
def own_network(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_backbone", lambda name, **options: network)


@pytest.mark.usefixtures("own_network")
def test_whole_image_is_asked_for_as_if_its_part_had_never_been_seen(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the normal parts come again in other light among the tests."""
    for folder in ("train/good", "test/good", "test/bent"):
        (tmp_path / folder).mkdir(parents=True)
    for i, image in enumerate(sorted((dataset / "train" / "good").iterdir())):
        shutil.copy(image, tmp_path / f"train/good/exp1_num_{1000 * i}.png")
        if i % 2:
            again = tmp_path / f"test/good/exp2_num_{1000 * i + 15}.png"
            again.write_bytes(image.read_bytes() + b"\0")
    for i, image in enumerate(sorted((dataset / "test").glob("b*/*.png"))):
        shutil.copy(image, tmp_path / f"test/bent/exp1_num_{1000 * (50 + i)}.png")

    asked: list[tuple[LibraryImage, float | None]] = []

    def noted(category: Category, *args: Any, **how: Any) -> list[Neighbor]:
        known = read_images(category, {"sha256": how["where"]["sha256"].value})
        asked.extend((image, how["score"]) for image in known.values())
        return neighbors(category, *args, **how)

    monkeypatch.setattr(leave_one_out, "neighbors", noted)
    rows = run_retrieval([tmp_path], ["compact"], settings=BenchmarkSettings(coreset=0.02))
    wholes = [row for row in rows if (row.queries, row.by) == ("normal", "whole")]
    assert [(row.left_out, row.parts) for row in wholes] == [("image", 20), ("part", 20)]
    scores = [(new, image.score) for image, new in asked if image.label == "normal" and new]
    without_image, without_part = scores[0::2], scores[1::2]
    assert len(without_part) == wholes[1].figures.queries == 8 + 3
    assert all(new == kept for new, kept in without_image)
    assert all(kept is not None and new >= kept - 1e-4 for new, kept in without_part)
    assert sum(kept is not None and new > 1.05 * kept for new, kept in without_part) > 4


ROW = RetrievalRow(
    "tile",
    "compact",
    "defective",
    "type",
    "defect",
    "part",
    7,
    RetrievalFigures(9, 0.5, 0.4, 0.3, 0.2, 0.1),
)


def test_row_shows_every_figure_under_its_head() -> None:
    heads, _, cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in retrieval_table([ROW]).splitlines()
    )
    shown = dict(zip(heads, cells, strict=True))
    assert shown["product parts"] == "7"
    assert (shown["n"], shown["left out"], shown["by"]) == ("9", "part", "defect")
    figures = [shown[head] for head in ("P@1", "P@5", "mAP", "nDCG", "chance")]
    assert figures == ["0.500", "0.400", "0.300", "0.200", "0.100"]


def test_proposals_and_groups_are_tables_of_their_own_where_there_are_any() -> None:
    proposals = ProposalFigures(9, 0.1, 0.9, 0.5, (0.0, 0.0, 0.1, 0.2))
    row = replace(ROW, proposals=proposals, groups=GroupFigures(9, 3, 0.8, 0.5, 0.7))
    tables = retrieval_table([ROW, row]).split("\n\n")
    assert [len(table.splitlines()) for table in tables] == [4, 3, 3]
    assert tables[1].splitlines()[2].startswith("| tile | compact | 9 | ")
    assert (
        tables[2].splitlines()[2] == "| tile | compact | defect | 9 | 3 | 0.800 | 0.500 | 0.700 |"
    )
