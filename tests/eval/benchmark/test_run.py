"""The benchmark's figures are those of its own images, and its rival is plain brute force."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from backbones.base import Backbone, BackboneSpec, Features, Float32, Precision
from backbones.pipeline import Skipped
from eval.baselines.by_embedding.brute_force import BruteForce
from eval.benchmark import run
from eval.benchmark.results import CategoryReport, ImageResult
from eval.benchmark.run import (
    BRUTE_FORCE,
    BenchmarkSettings,
    Evaluation,
    benchmark_result,
    evaluate,
    run_benchmark,
)
from indexer.data.image_records import DatasetError, ImageRecord, read_dataset
from indexer.learn.build import build_index
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector

SETTINGS = BenchmarkSettings(coreset=0.02)


class PlainPixels:
    """A network whose features can be read off the image: 8 x 8 patches, each one pixel's RGB."""

    spec = BackboneSpec(
        name="plain-pixels",
        architecture="",
        dim=3,
        parameters=0,
        weights="bundled",
        licence="",
        input_size=8,
        stride=1,
    )
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "pixels"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        patches = inputs.astype(np.float32)
        return Features(patches, patches.mean(axis=(1, 2)))


def learn_and_evaluate(
    dataset: Path, records: list[ImageRecord], network: Backbone, store: VectorStore, out: Path
) -> Evaluation:
    build = build_index(
        records,
        category="grid",
        backbone=network,
        store=store,
        calibrator=ConformalCalibrator(),
        coreset=0.02,
    )
    return evaluate(store, build, network, records, dataset=str(dataset), out=out)


@pytest.fixture
def own_network(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The benchmark loads its network itself: give it the one that remembers."""

    def load(name: str, *, images: Sequence[Path], **options: object) -> Backbone:
        assert name == "compact"
        assert options.pop("device") == "cpu"
        assert set(options.values()) == {None}, options
        assert all(path.parent.name == "good" for path in images)
        return network

    monkeypatch.setattr(run, "load_backbone", load)
    return network


def paths_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), normal=st.integers(1, 6), levels=st.sampled_from([2, 12, 256])
)
def test_rival_scores_like_plain_brute_force_whatever_bounds_it_is_given(
    seed: int, normal: int, levels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, levels, (normal + 2, 8, 8, 3), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("pixels")
    paths = [folder / f"{number}.png" for number in range(len(pixels))]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    patches = PlainPixels().embed(pixels).patches.reshape(len(pixels), 64, 3)
    bank = patches[:normal].reshape(-1, 3)
    kept = rng.choice(len(bank), size=rng.integers(1, len(bank) + 1), replace=False)

    def distances(queries: Float32, normal_patches: Float32) -> Float32:
        nearest: Float32 = np.linalg.norm(queries[:, None] - normal_patches, axis=2).min(axis=1)
        return nearest

    rival = BruteForce(PlainPixels(), paths[:normal])
    assert len(rival) == len(bank)
    found = rival.scores(
        paths[normal:], (distances(q, bank[kept]).reshape(8, 8) for q in patches[normal:])
    )
    expected = [float(distances(queries, bank).max()) for queries in patches[normal:]]
    assert found == pytest.approx(expected, rel=1e-6)


def test_rival_says_nan_for_an_image_it_cannot_read_and_leaves_out_such_normal_ones(
    tmp_path: Path,
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"damaged")
    good = tmp_path / "good.png"
    Image.new("RGB", (8, 8), (3, 4, 0)).save(good)
    rival = BruteForce(PlainPixels(), [bad, good, bad])
    assert len(rival) == 64
    everywhere = np.full((8, 8), np.inf, dtype=np.float32)
    scores = rival.scores([good, bad], [everywhere, everywhere])
    assert scores == pytest.approx([0, float("nan")], nan_ok=True)


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
    assert report.bank_size == round(0.02 * 13 * network.spec.grid**2)
    assert (report.alpha_reject, report.alpha_review) == (0.25, 0.5)
    assert report.fingerprint == network.fingerprint
    assert report.index_seconds > 0


def test_benchmark_writes_pictures_below_its_folder_and_nothing_else_anywhere(
    dataset: Path, own_network: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = paths_below(dataset)
    out = tmp_path / "out"
    stages: list[str] = []
    result = run_benchmark(
        [dataset],
        ["compact"],
        out=out,
        settings=SETTINGS,
        brute_force=True,
        on_progress=lambda stage, done, total: stages.append(stage),
    )
    pictures = {ref.picture for report in result.reports for ref in report.heatmaps}
    assert paths_below(out) == pictures
    assert {picture.rpartition("/")[0] for picture in pictures} == {"pictures/grid--compact"}
    for picture in pictures:
        with Image.open(out / picture) as image:
            image.load()
    assert paths_below(tmp_path) == {f"out/{picture}" for picture in pictures}
    assert paths_below(dataset) == before
    assert all(stage.startswith("grid, compact: ") for stage in stages)
    (report,) = result.reports
    assert report.baseline is not None
    assert 0 <= report.baseline[BRUTE_FORCE] <= 1


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


def test_same_benchmark_run_twice_gives_the_same_figures(
    dataset: Path, own_network: Backbone, tmp_path: Path
) -> None:
    first, second = (
        run_benchmark([dataset], ["compact"], out=tmp_path / name, settings=SETTINGS).reports[0]
        for name in ("first", "second")
    )
    assert [i.score for i in first.images] == [i.score for i in second.images]
    assert (first.pixel_auroc, first.threshold) == (second.pixel_auroc, second.threshold)


def test_skipped_files_are_reported_once_each_and_the_rest_is_measured(
    dataset: Path, own_network: Backbone, tmp_path: Path
) -> None:
    own = shutil.copytree(dataset, tmp_path / "grid")
    bad = {own / "train/good/bad.png", own / "test/good/bad.png"}
    for path in bad:
        path.write_bytes(b"damaged " + str(path).encode())
    skipped: list[Skipped] = []
    result = run_benchmark(
        [own], ["compact"], out=tmp_path / "out", settings=SETTINGS, on_skipped=skipped.append
    )
    assert sorted(item.path for item in skipped) == sorted(bad)
    assert all(item.reason for item in skipped)
    assert len(result.reports[0].images) == 10


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
