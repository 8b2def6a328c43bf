"""Figures of an evaluation follow from its own images."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from eval.benchmark.evaluate import Evaluation, evaluate
from eval.benchmark.results import CategoryReport, ImageResult
from eval.benchmark.run import benchmark_result
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.learn.build import build_index
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.inspector import Inspector


def learn_and_evaluate(
    dataset: Path, records: list[ImageRecord], network: Backbone, store: VectorStore, out: Path
) -> Evaluation:
    build = build_index(
        records,
        category="grid",
        backbone=network,
        store=store,
        coreset=0.02,
    )
    return evaluate(store, build, network, records, dataset=str(dataset), out=out)


def auroc_by_pairs(images: tuple[ImageResult, ...]) -> float:
    """Share of (defective, normal) pairs in the right order, ties counting half."""
    pairs = [(d.score, n.score) for d in images for n in images if d.defective > n.defective]
    return statistics.fmean((d > n) + (d == n) / 2 for d, n in pairs)


def best_f1(images: tuple[ImageResult, ...]) -> float:
    return max(
        2
        * sum(i.defective for i in images if i.score >= level)
        / (sum(i.score >= level for i in images) + sum(i.defective for i in images))
        for level in (image.score for image in images)
    )


@pytest.fixture(scope="module")
def report(
    dataset: Path, network: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> CategoryReport:
    out = tmp_path_factory.mktemp("report")
    with open_store(":memory:") as store:
        return learn_and_evaluate(dataset, read_dataset(dataset), network, store, out).report


def test_image_figures_follow_from_the_images_of_the_report(
    report: CategoryReport, dataset: Path
) -> None:
    images = report.images
    records = [record for record in read_dataset(dataset) if record.split == "test"]
    assert [(i.path, i.label, i.defect_type) for i in images] == [
        (str(r.path), r.label, r.defect_type) for r in records
    ]
    assert report.image_auroc == pytest.approx(auroc_by_pairs(images))
    assert report.f1_max == pytest.approx(best_f1(images))
    assert report.median_ms == pytest.approx(statistics.median(i.milliseconds for i in images))
    rejected = [i for i in images if i.score > report.threshold]
    assert {i.path for i in rejected} == {i.path for i in images if i.verdict == "reject"}
    assert (report.recall.successes, report.recall.n) == (sum(i.defective for i in rejected), 6)
    assert report.false_reject.successes == len(rejected) - report.recall.successes
    assert report.false_reject.n == 4
    assert sum(rate.n for rate in report.recall_by_type.values()) == 6


def test_pixel_auroc_is_the_share_of_pixel_pairs_in_the_right_order(
    report: CategoryReport, dataset: Path, network: Backbone, learnt: VectorStore
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    normal, defective = [], []
    for record in read_dataset(dataset):
        if record.split == "test":
            heat = inspector.inspect(record.path).anomaly_map()
            mask = np.zeros(heat.shape, dtype=np.bool_)
            if record.mask:
                mask = np.asarray(Image.open(record.mask)) > 127
            normal.append(heat[~mask])
            defective.append(heat[mask])
    below = np.sort(np.concatenate(normal))
    right = np.searchsorted(below, np.concatenate(defective)) / len(below)
    assert report.pixel_auroc == pytest.approx(right.mean(), abs=1e-3)


def test_report_says_how_the_category_was_learnt(
    report: CategoryReport, network: Backbone, dataset: Path
) -> None:
    assert (report.n_train, report.n_calibration, report.dataset) == (13, 3, str(dataset))
    assert report.bank_size == round(0.02 * 13 * math.prod(network.spec.grid))
    assert (report.alpha_reject, report.alpha_review) == (0.25, 0.5)
    assert report.fingerprint == network.fingerprint
    assert report.index_seconds > 0


def test_pictures_are_of_the_kinds_they_are_called(report: CategoryReport) -> None:
    by_path = {image.path: image for image in report.images}
    kinds = {ref.kind for ref in report.heatmaps}
    assert kinds >= {"worst normal", "best defect"}
    for ref in report.heatmaps:
        image = by_path[ref.path]
        assert ref.score == pytest.approx(image.score)
        assert image.defective == (ref.kind != "worst normal")
        assert ref.kind != "missed defect" or image.verdict != "reject"
    worst = next(ref for ref in report.heatmaps if ref.kind == "worst normal")
    assert worst.score == pytest.approx(max(i.score for i in report.images if not i.defective))


def test_data_set_without_a_test_image_that_can_be_read_is_refused(
    dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    train = [record for record in read_dataset(dataset) if record.split == "train"]
    with open_store(":memory:") as store, pytest.raises(DatasetError, match="no test images"):
        learn_and_evaluate(dataset, train, network, store, tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"damaged")
    records = [*train, ImageRecord(bad, "normal", "", "test", None)]
    with open_store(":memory:") as store, pytest.raises(DatasetError, match="can be read"):
        learn_and_evaluate(dataset, records, network, store, tmp_path)


def test_test_set_of_one_class_has_no_auroc_rather_than_an_error(
    dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    records = [record for record in read_dataset(dataset) if record.label == "normal"]
    with open_store(":memory:") as store:
        report = learn_and_evaluate(dataset, records, network, store, tmp_path).report
    assert np.isnan([report.image_auroc, report.pixel_auroc, report.au_pro_30]).all()
    assert benchmark_result([report]).reports == (report,)
