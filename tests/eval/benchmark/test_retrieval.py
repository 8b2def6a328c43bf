from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from backbones.geometry import Box
from eval.benchmark import run
from eval.benchmark.leave_one_out import retrieval_table
from eval.benchmark.retrieval import mask_box, run_retrieval
from eval.benchmark.run import BenchmarkSettings
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.synthetic.dataset import write_dataset


@pytest.fixture
def own_network(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_backbone", lambda name, **options: network)


@pytest.mark.usefixtures("own_network")
def test_data_set_is_searched_by_whole_image_by_defect_and_by_region(dataset: Path) -> None:
    rows = run_retrieval([dataset], ["compact"], settings=BenchmarkSettings(coreset=0.02))
    assert {row.left_out for row in rows} == {"image"}
    assert [(row.queries, row.finds, row.by, row.figures.queries, row.parts) for row in rows] == [
        ("defective", "type", "whole", 6, 6),
        ("defective", "type", "defect", 6, 6),
        ("defective", "type", "patches", 6, 6),
        ("defective", "type", "residual", 6, 6),
        ("defective", "type", "regions", 6, 6),
        ("defective", "type", "crop", 6, 6),
        ("defective", "type", "region", 6, 6),
        ("normal", "label", "look", 7, 26),
        ("normal", "label", "whole", 7, 26),
        ("defective", "label", "look", 6, 26),
        ("defective", "label", "whole", 6, 26),
    ]
    table = retrieval_table(rows).splitlines()
    assert len(table) == 13 + 1 + 3 + 1 + 4
    assert table[16].startswith("| grid | compact | 6 | ")
    assert table[-1].startswith("| grid | compact | defect | 6 | 3 | 1.000 | ")
    assert table[3].startswith("| grid | compact | defective | type | defect | image | 6 | 6 | ")


def test_box_of_a_mask_holds_all_it_marks_and_no_more(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "image.png")
    marked = np.zeros((40, 60), np.uint8)
    marked[5, 30] = marked[20:23, 8] = 255
    Image.fromarray(marked).save(tmp_path / "mask.png")
    record = ImageRecord(tmp_path / "image.png", "defective", "hole", "test", tmp_path / "mask.png")
    assert mask_box(record) == Box(8, 5, 23, 18)
    Image.fromarray(np.zeros_like(marked)).save(tmp_path / "mask.png")
    assert mask_box(record) is None
    assert mask_box(replace(record, mask=None)) is None


@pytest.mark.usefixtures("own_network")
def test_folder_per_defect_type_without_normal_images_is_searched_by_whole_image(
    dataset: Path, tmp_path: Path
) -> None:
    for folder in (dataset / "test").iterdir():
        if folder.name != "good":
            (tmp_path / folder.name).symlink_to(folder)
    rows = run_retrieval([tmp_path], ["compact"])
    assert [(row.queries, row.by) for row in rows] == [("defective", "whole")]


@pytest.mark.usefixtures("own_network")
def test_data_set_without_two_images_of_a_defect_type_is_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path, "grid", train=2, test_normal=0, test_defective=1, size=96)
    with pytest.raises(DatasetError, match="lacks two images of one defect type"):
        run_retrieval([data], ["compact"])
