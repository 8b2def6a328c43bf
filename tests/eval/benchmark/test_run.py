"""A benchmark learns, measures and leaves nothing behind but its report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backbones.base import Backbone
from backbones.pipeline import Skipped
from eval.baselines.table import BASELINES
from eval.benchmark import run
from eval.benchmark.run import BenchmarkSettings, run_benchmark
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.catalog.commits import find_category
from indexer.data.dataset import read_dataset
from ui.cli.entry import main

SETTINGS = BenchmarkSettings(coreset=0.02)


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
        baselines=["brute-force"],
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
    assert 0 <= report.baseline[BASELINES["brute-force"].title] <= 1


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
        "input_size": (192, 192),
        "crop": (160, 160),
        "padding": False,
    }


def test_store_that_has_learnt_is_gone_afterwards(dataset: Path, network: Backbone) -> None:
    records = [record for record in read_dataset(dataset) if record.split == "train"]
    settings = BenchmarkSettings(coreset=0.02, calibration=CalibrationSettings("cross-conformal"))
    with settings.learnt(records, "grid", network) as (store, build):
        entry = find_category(store, "grid").entry
        assert entry.counts == build.entry.counts
        assert read_calibration(entry).method.name == "cross-conformal"
        folder = Path(store.location)
    assert not folder.exists()
