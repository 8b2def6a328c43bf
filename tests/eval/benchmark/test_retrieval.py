from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import average_precision_score, ndcg_score

from backbones.base import Backbone
from backbones.geometry import Box
from eval.benchmark import retrieval, run
from eval.benchmark.retrieval import mask_box, run_retrieval
from eval.benchmark.retrieval_report import retrieval_table
from eval.benchmark.run import BenchmarkSettings
from eval.metrics.clustering import group_figures
from eval.metrics.retrieval import cosines, retrieval_figures
from indexer.catalog.collections import read_images
from indexer.catalog.schema import CatalogEntry, LibraryImage
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.store.base import VectorStore
from indexer.synthetic.dataset import write_dataset
from search.retrieval.neighbors import Neighbor, neighbors
from ui.cli.entry import main


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(6, 20), st.integers(2, 4))
def test_figures_are_those_of_scikit_learn_query_by_query(
    seed: int, count: int, types: int
) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((count, 5)).astype(np.float32)
    kinds = [str(k) for k in rng.integers(0, types, count)]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    aps, gains, first = [], [], []
    for i, kind in enumerate(kinds):
        others = [j for j in range(count) if j != i]
        truth = np.array([kinds[j] == kind for j in others])
        if truth.any():
            scores = unit[others] @ unit[i]
            aps.append(average_precision_score(truth, scores))
            gains.append(ndcg_score(truth[None].astype(int), scores[None]))
            first.append(bool(truth[int(np.argmax(scores))]))
    figures = retrieval_figures(cosines(embeddings), kinds, np.arange(count))
    assert figures.queries == len(aps)
    assert math.isclose(figures.mean_ap, np.mean(aps), rel_tol=1e-5)
    assert math.isclose(figures.ndcg, np.mean(gains), rel_tol=1e-5)
    assert math.isclose(figures.p_at_1, np.mean(first), rel_tol=1e-5)


def test_perfect_and_hopeless_search_have_their_figures() -> None:
    corners = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
    alone = np.arange(12)
    perfect = retrieval_figures(cosines(corners), ["a"] * 6 + ["b"] * 6, alone)
    assert (perfect.p_at_1, perfect.p_at_5, perfect.mean_ap, perfect.ndcg) == (1, 1, 1, 1)
    assert perfect.chance == pytest.approx(5 / 11)
    mixed = retrieval_figures(cosines(corners), ["a", "b", "c", "d", "e", "f"] * 2, alone)
    assert mixed.p_at_5 == 0


def test_queries_need_another_image_of_their_kind() -> None:
    embeddings, alone = np.eye(4, dtype=np.float32), np.arange(4)
    assert retrieval_figures(cosines(embeddings), ["a", "a", "b", "c"], alone).queries == 2
    with pytest.raises(DatasetError, match="no query has another image of its kind"):
        retrieval_figures(cosines(embeddings), ["a", "b", "c", "d"], alone)


def test_what_is_found_of_the_part_itself_does_not_count() -> None:
    """Each part lies at a place of its own, whatever its defect: seen again, it is found again."""
    places = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    kinds, parts = ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3, np.repeat(np.arange(4), 3)
    assert retrieval_figures(cosines(places), kinds, np.arange(12)).p_at_1 == 1
    left_out = retrieval_figures(cosines(places), kinds, parts)
    assert left_out.p_at_1 == 0.25  # all others are equally far: the earliest comes first
    assert left_out.chance == pytest.approx(3 / 9)
    with pytest.raises(DatasetError, match="of different parts"):
        retrieval_figures(cosines(places), kinds, np.zeros(12, np.int64))


def test_purity_is_what_naming_each_group_at_once_names_rightly() -> None:
    corners = np.repeat(np.eye(8, dtype=np.float32)[:2], 6, axis=0)
    apart = group_figures(corners, ["a"] * 6 + ["b"] * 6)
    assert (apart.groups, apart.purity, apart.v_measure, apart.commonest) == (2, 1, 1, 0.5)
    mixed = group_figures(corners, ["a", "a", "a", "b", "b", "c"] * 2)
    assert (mixed.groups, mixed.purity) == (2, 0.5)
    assert mixed.v_measure == pytest.approx(0, abs=1e-9)


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

    def noted(store: VectorStore, entry: CatalogEntry, *args: Any, **how: Any) -> list[Neighbor]:
        known = read_images(store, entry, {"sha256": how["where"]["sha256"].value})
        asked.extend((image, how["score"]) for image in known.values())
        return neighbors(store, entry, *args, **how)

    monkeypatch.setattr(retrieval, "neighbors", noted)
    rows = run_retrieval([tmp_path], ["compact"], settings=BenchmarkSettings(coreset=0.02))
    wholes = [row for row in rows if (row.queries, row.by) == ("normal", "whole")]
    assert [(row.left_out, row.parts) for row in wholes] == [("image", 20), ("part", 20)]
    scores = [(new, image.score) for image, new in asked if image.label == "normal" and new]
    without_image, without_part = scores[0::2], scores[1::2]
    assert len(without_part) == wholes[1].figures.queries == 8 + 3
    assert all(new == kept for new, kept in without_image)
    assert all(kept is not None and new >= kept - 1e-4 for new, kept in without_part)
    assert sum(kept is not None and new > 1.05 * kept for new, kept in without_part) > 4


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
    with pytest.raises(DatasetError, match="no two images of one defect type"):
        run_retrieval([data], ["compact"])


def test_network_is_loaded_as_the_settings_say(
    network: Backbone, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> Backbone:
        asked.update(options, name=name)
        return network

    monkeypatch.setattr(run, "load_backbone", load)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    options = "--precision f32 --device cuda --input-size 192 --crop 160 --no-padding"
    command = ["vecspect", "benchmark", str(dataset), "--retrieval", "--coreset", "0.02"]
    command += ["--backbone", "compact", "--out", str(tmp_path), *options.split()]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert len(asked.pop("images")) == 16
    assert asked == {
        "name": "compact",
        "weights": None,
        "precision": "f32",
        "device": "cuda",
        "input_size": 192,
        "crop": 160,
        "padding": False,
    }
